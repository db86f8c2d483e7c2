/**
 * Every state of the page: axe-core finds nothing, nothing is wider than the screen, and the main
 * button is visible without scrolling. With SWITCHBOARD_SHOTS each is also shown as a screenshot.
 */

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { describe, test } from 'node:test';
import { JOURNEYS } from './lib/journeys.js';
import { runServerAndBrowser } from './lib/running.js';

const AXE = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

/** How the page is looked at: a small and a usual phone, upright and in landscape, and a low notebook. */
const VIEWS = [
  { name: '320', width: 320, height: 640 },
  { name: '390', width: 390, height: 844, axe: true },
  { name: '844x390', width: 844, height: 390 },
  { name: '1366x600', width: 1366, height: 600 },
  { name: 'dark', width: 1000, height: 860, colorScheme: 'dark', axe: true },
  { name: 'rtl', width: 390, height: 844, direction: 'rtl' },
];
/** The journeys that are made in each language. German has the longest words; its states differ in nothing else. */
const JOURNEYS_BY_LANGUAGE = { en: Object.keys(JOURNEYS), de: ['call', 'blocked', 'microphone', 'waiting', 'refusals'] };

/** What of the page does not fit on the screen. Runs in the page. */
function misfits() {
  const found = [];
  const tooWide = document.documentElement.scrollWidth - innerWidth;
  if (tooWide > 0) {
    const outside = [...document.body.querySelectorAll('*')].filter((element) => {
      const { left, right, width } = element.getBoundingClientRect();
      return width > 1 && (left < -0.5 || right > innerWidth + 0.5);
    });
    found.push(`${tooWide} px too wide: ${outside.map(({ tagName, id, className }) => `${tagName}#${id}.${className}`)}`);
  }
  scrollTo(0, 0);
  const main = [...document.querySelectorAll('.keys button')].find((button) => button.checkVisibility());
  if (main !== undefined) {
    const { top, bottom } = main.getBoundingClientRect();
    if (top < 0 || bottom > innerHeight) found.push(`#${main.id} ends at ${Math.round(bottom)} of ${innerHeight} px`);
  }
  return found;
}

/** Ends transitions and animations, so that axe-core sees the final colours. Runs in the page. */
function settle() {
  for (const animation of document.getAnimations()) {
    if (animation.effect.getComputedTiming().iterations === Infinity) animation.cancel();
    else animation.finish();
  }
}

/** @param {import('./lib/visitor.js').Visitor} visitor */
async function violations({ page }) {
  await page.evaluate(AXE);
  const { violations } = await page.evaluate(() => window.axe.run());
  return violations.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html).join(' ')}`);
}

/** Looks at a state in every view, and returns what is wrong with it. */
async function inspect(visitor, state, language) {
  const { page } = visitor;
  const found = [];
  for (const { name, width, height, colorScheme = 'light', direction, axe } of VIEWS) {
    await page.setViewportSize({ width, height });
    await page.emulateMedia({ colorScheme });
    const before = await page.evaluate((direction) => {
      const before = document.documentElement.dir;
      if (direction !== undefined) document.documentElement.dir = direction;
      return before;
    }, direction);
    await page.evaluate(settle);
    const wrong = await page.evaluate(misfits);
    // axe-core needs the scripts of the page.
    if (axe && language === 'en' && state !== 'no-javascript') wrong.push(...(await violations(visitor)));
    found.push(...wrong.map((what) => `${state}, ${language}, ${name}: ${what}`));
    await visitor.shoot(`${language}-${state}-${name}`);
    await page.evaluate((before) => (document.documentElement.dir = before), before);
  }
  return found;
}

describe('every state of the page', { timeout: 600_000 }, () => {
  const running = runServerAndBrowser({ flags: ['--host-resolver-rules=MAP talk.example 127.0.0.1'] });

  for (const [language, names] of Object.entries(JOURNEYS_BY_LANGUAGE)) {
    for (const name of names) {
      test(`is accessible and fits on every screen: ${name}, ${language}`, { timeout: 120_000 }, async () => {
        const options = { locale: language, reducedMotion: 'reduce' };
        const found = [];
        for await (const [state, visitor] of JOURNEYS[name]({ ...running, options })) {
          found.push(...(await inspect(visitor, state, language)));
        }
        assert.deepEqual(found, []);
      });
    }
  }
});
