/** The texts of the page in all languages. */

import assert from 'node:assert/strict';
import { readFileSync, readdirSync } from 'node:fs';
import { describe, test } from 'node:test';
import { TEXTS as ENGLISH } from '../../src/page/web/languages/en.js';
import { TRANSLATIONS, chooseLanguage, text, useLanguage, words } from '../../src/page/web/words.js';

const WEB = new URL('../../src/page/web/', import.meta.url);
const placeholders = (template) => template.match(/\{\w+\}/g)?.sort() ?? [];

async function textsOf(language) {
  return (await import(new URL(`languages/${language}.js`, WEB))).TEXTS;
}

describe('the languages', () => {
  test('have a file each, and each file is a language', () => {
    const files = readdirSync(new URL('languages', WEB)).sort();
    assert.deepEqual(files, ['en', ...TRANSLATIONS].map((language) => `${language}.js`).sort());
  });

  for (const language of TRANSLATIONS) {
    test(`${language} has every key of English, in the same order`, async () => {
      assert.deepEqual(Object.keys(await textsOf(language)), Object.keys(ENGLISH));
    });

    test(`${language} has the placeholders of English`, async () => {
      for (const [key, template] of Object.entries(await textsOf(language))) {
        assert.notEqual(template.trim(), '', key);
        assert.deepEqual(placeholders(template), placeholders(ENGLISH[key] ?? ''), key);
      }
    });

    test(`${language} does not repeat English sentences`, async () => {
      for (const [key, template] of Object.entries(await textsOf(language))) {
        const isSentence = template.includes(' ') && /[.?]$/.test(template);
        if (isSentence) assert.notEqual(template, ENGLISH[key], key);
      }
    });
  }

  test('French keeps its punctuation on the line of the word before it', async () => {
    for (const [key, template] of Object.entries(await textsOf('fr'))) {
      const prose = template.replace('_ . : -', '');
      assert.doesNotMatch(prose, / [;:!?]|«[^\u202f]|[^\u202f]»/, key);
    }
  });

  test('tell a muted partner from one without sound', async () => {
    for (const language of ['en', ...TRANSLATIONS]) {
      const texts = await textsOf(language);
      assert.notEqual(texts['partner.muted'], texts['partner.silent'], language);
    }
  });

  test('are chosen by the preferences of the browser, regions ignored', () => {
    const chosen = (...languages) => chooseLanguage(languages);
    assert.equal(chosen('de-AT', 'en'), 'de');
    assert.equal(chosen('pt-BR'), 'pt');
    assert.equal(chosen('nl-BE', 'fr-BE', 'en'), 'fr');
    assert.equal(chosen('en-GB', 'de'), 'en');
    assert.equal(chosen('ja', 'zh-Hant-TW'), 'en');
    assert.equal(chosen(), 'en');
  });

  test('a language that cannot be loaded leaves the page in English', async () => {
    assert.deepEqual(await useLanguage('xx'), { language: 'en', direction: 'ltr' });
    assert.equal(text('button.start'), 'Start');
  });

  test('are used after they were loaded', async () => {
    assert.deepEqual(await useLanguage('de'), { language: 'de', direction: 'ltr' });
    assert.equal(words({ name: 'talking', since: 0, signalling: 'up', silent: false }).headline, (await textsOf('de'))['talking.headline']);
    assert.match(text('users.many', { count: 12 }), /12/);
    await useLanguage('en');
  });
});

describe('index.html', () => {
  const html = readFileSync(new URL('index.html', WEB), 'utf8');

  test('has the English texts of the keys that it names', () => {
    const marked = [...html.matchAll(/data-text="([^"]+)"[^>]*>([^<]*)</g)];
    assert.ok(marked.length > 20, `${marked.length} marked texts`);
    for (const [, key, content] of marked) assert.equal(content, ENGLISH[key], key);
    const labels = [...html.matchAll(/data-label="([^"]+)"\s+aria-label="([^"]+)"/g)];
    assert.equal(labels.length, html.match(/data-label=/g).length);
    for (const [, key, content] of labels) assert.equal(content, ENGLISH[key], key);
    assert.ok(html.includes(`content="${ENGLISH['page.description']}"`));
  });
});

test('every key is used', () => {
  const scripts = readdirSync(WEB).filter((name) => /\.(js|html)$/.test(name));
  const code = scripts.map((name) => readFileSync(new URL(name, WEB), 'utf8')).join('\n');
  // Keys of states are composed from the names of phases and reasons.
  const composed = /\.(headline|detail)$|^(talking|partner|quality|searching|obstacle)\.|^settings\.relay_/;
  const isQuoted = (key) => code.includes(`'${key}'`) || code.includes(`"${key}"`);
  const unused = Object.keys(ENGLISH).filter((key) => !composed.test(key) && !isQuoted(key));
  assert.deepEqual(unused, []);
});
