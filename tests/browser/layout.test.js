/** The page in every size and language, light and dark, from right to left, and without scripts. */

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { duration, text } from '../../src/page/web/words.js';
import { runServerAndBrowser } from './lib/running.js';
import { Session } from './lib/session.js';
import { Visitor } from './lib/visitor.js';

const SIZES = [[320, 568], [390, 844], [844, 390], [1366, 600], [1366, 900]];

/** Colour schemes, languages and directions. */
const STYLES = [
  { name: 'light', locale: 'en-US', colorScheme: 'light' },
  { name: 'dark', locale: 'es-ES', colorScheme: 'dark' },
  { name: 'german', locale: 'de-DE', colorScheme: 'light' },
  { name: 'portuguese', locale: 'pt-BR', colorScheme: 'light' },
  { name: 'rtl', locale: 'fr-FR', colorScheme: 'light', rtl: true },
];

/** What is wrong with the layout: overflow, covered or invisible buttons. */
function faults(mainButton) {
  const found = [];
  const wide = document.documentElement.scrollWidth - innerWidth;
  if (wide > 0) found.push(`${wide} px wider than the screen`);
  for (const element of document.querySelectorAll('.key, h2, .detail, .what, .who, .users, select')) {
    if (element.getClientRects().length === 0) continue;
    const { left, right } = element.getBoundingClientRect();
    if (left < 0 || right > innerWidth) found.push(`${element.id || element.className} is outside the screen`);
    if (element.scrollWidth > element.clientWidth + 1 && getComputedStyle(element).display !== 'inline') {
      found.push(`the text of ${element.id || element.className} overflows`);
    }
  }
  // Words of these are not hyphenated, so one on two lines was broken for lack of space.
  for (const element of document.querySelectorAll('.key, .who, .what, .users, .clock')) {
    const text = element.firstChild;
    if (element.getClientRects().length === 0 || text?.nodeType !== Node.TEXT_NODE) continue;
    for (const { index, 0: word } of text.data.matchAll(/\S+/g)) {
      const range = document.createRange();
      range.setStart(text, index);
      range.setEnd(text, index + word.length);
      const lines = new Set([...range.getClientRects()].map(({ top }) => Math.round(top)));
      if (lines.size > 1) found.push(`'${word}' of ${element.id || element.className} is broken over two lines`);
    }
  }
  const main = document.getElementById(mainButton);
  const { top, bottom } = main.getBoundingClientRect();
  if (top < 0 || bottom > innerHeight) found.push(`#${mainButton} ends at ${Math.round(bottom)} of ${innerHeight} px`);
  return found;
}

describe('the layout', { timeout: 300_000 }, () => {
  const running = runServerAndBrowser({}, '--stats-queue', 'de,en,music');

  /** @param {(typeof STYLES)[number]} style */
  async function arrive({ rtl = false, ...options }) {
    const visitor = await Visitor.arrive(running.browser, running.server.url, { ...options, reducedMotion: 'reduce' });
    await visitor.page.waitForSelector('#ask:not([hidden])');
    if (rtl) await visitor.page.evaluate(() => (document.documentElement.dir = 'rtl'));
    return visitor;
  }

  for (const style of STYLES) {
    test(`fits every screen, ${style.name}`, async () => {
      const { name, ...options } = style;
      const [ann, ben] = [await arrive(options), await arrive(options)];
      const found = [];
      const inspect = async (state, button) => {
        for (const [width, height] of SIZES) {
          await ann.page.setViewportSize({ width, height });
          // The page draws once more in the new size.
          await ann.page.evaluate(() => new Promise((drawn) => requestAnimationFrame(() => requestAnimationFrame(drawn))));
          await ann.shoot(`layout-${name}-${state}-${width}x${height}`);
          const here = await ann.page.evaluate(faults, button);
          found.push(...here.map((fault) => `${state} ${width}x${height}: ${fault}`));
        }
      };
      await inspect('welcome', 'ask');
      await ann.checkMicrophone();
      await inspect('ready', 'start');
      await ann.press('start');
      await ann.page.waitForSelector('#alone:not([hidden])');
      await inspect('searching', 'stop');
      await ben.start();
      await ann.reaches('talking');
      await ann.page.waitForFunction(() => document.getElementById('quality').textContent !== '');
      await inspect('talking', 'next');
      await ben.press('stop');
      await ann.reaches('ended');
      await inspect('ended', 'next');
      assert.deepEqual(found, []);
      assert.deepEqual(ann.errors, []);
      await Promise.all([ann, ben].map((visitor) => visitor.leave()));
    });
  }

  test('from right to left, the drawing and the two ends are mirrored', async () => {
    const ann = await arrive({ locale: 'en-US', rtl: true });
    const places = await ann.page.evaluate(() => {
      const middle = (selector) => {
        const { left, right } = document.querySelector(selector).getBoundingClientRect();
        return (left + right) / 2;
      };
      return { you: middle('.jack'), youText: middle('.end'), partner: middle('.end:last-child'), users: middle('.users'), title: middle('h1') };
    });
    assert.ok(places.you > places.partner && places.youText > places.partner, JSON.stringify(places));
    assert.ok(Math.abs(places.you - places.youText) < 40, JSON.stringify(places));
    assert.ok(places.users < places.title, JSON.stringify(places));
    await ann.leave();
  });

  test('Next is not the loudest button in a call, and Mute does not look disabled', async () => {
    const [ann, ben] = [await arrive({ locale: 'en-US' }), await arrive({ locale: 'en-US' })];
    await Promise.all([ann, ben].map((visitor) => visitor.start()));
    await ann.reaches('talking');
    const style = (id) => ann.page.evaluate((name) => {
      const { backgroundColor, borderColor, color, opacity } = getComputedStyle(document.getElementById(name));
      return { backgroundColor, borderColor, color, opacity };
    }, id);
    assert.deepEqual(await style('next'), await style('mute'));
    assert.equal((await style('mute')).opacity, '1');
    await ben.press('stop');
    await ann.reaches('ended');
    assert.notDeepEqual(await style('next'), await style('stop'));
    await Promise.all([ann, ben].map((visitor) => visitor.leave()));
  });

  test('without scripts the page says what it needs, first, in every language', async () => {
    const context = await running.browser.newContext({ javaScriptEnabled: false, viewport: { width: 390, height: 844 } });
    const page = await context.newPage();
    await page.goto(running.server.url);
    const text = await page.innerText('main');
    assert.match(text, /^Calls need JavaScript\./);
    assert.match(text, /brauchen JavaScript/);
    assert.equal(await page.isVisible('.card'), false);
    await page.screenshot({ path: `${process.env.SWITCHBOARD_SHOTS ?? '/tmp/switchboard-screenshots'}/layout-no-script.png` });
    await context.close();
  });
});

describe('waiting alone', { timeout: 120_000 }, () => {
  const running = runServerAndBrowser({}, '--stats-queue', 'de,music');

  test('the link of the queue is copied where the browser cannot share it', async () => {
    const ann = await Visitor.arrive(running.browser, `${running.server.url}#music`, { permissions: ['clipboard-read', 'clipboard-write'] });
    await ann.page.evaluate(() => (Navigator.prototype.share = undefined));
    await ann.start();
    await ann.page.waitForSelector('#alone:not([hidden])');
    await ann.press('share');
    await ann.reads('share', /copied/);
    assert.equal(await ann.page.evaluate(() => navigator.clipboard.readText()), `${running.server.url}#music`);
    await ann.leave();
  });

  test('a notification can be asked for while waiting', async () => {
    const ann = await Visitor.arrive(running.browser, running.server.url, { permissions: ['notifications'] });
    await ann.start();
    await ann.page.waitForSelector('#alone:not([hidden])');
    await ann.press('tell');
    await ann.page.waitForSelector('#tell', { state: 'hidden' });
    assert.equal(await ann.page.isChecked('#notify'), true);
    await ann.leave();
  });

  test('a queue of the operator can be chosen, and is shown by its language', async () => {
    const [ann, ben] = await Promise.all([0, 1].map(() => Visitor.arrive(running.browser, running.server.url)));
    await Promise.all([ann, ben].map((visitor) => visitor.checkMicrophone()));
    const names = await ann.page.$$eval('#queue option', (options) => options.map(({ textContent }) => textContent));
    assert.deepEqual(names, ['The common line', 'German', 'music']);
    await Promise.all([ann, ben].map((visitor) => visitor.page.selectOption('#queue', 'de')));
    assert.match(ann.page.url(), /#de$/);
    await ann.press('start');
    await ann.reaches('searching');
    const cat = await Visitor.arrive(running.browser, running.server.url);
    await cat.start();
    await cat.reaches('searching');
    await ben.press('start');
    await Promise.all([ann, ben].map((visitor) => visitor.reaches('talking')));
    await Promise.all([ann, ben, cat].map((visitor) => visitor.leave()));
  });

  test('the expected wait that the server tells is shown', async () => {
    // One room gives the server something to estimate from. Then it says after at most a second how long a
    // user has to expect to wait.
    const [ben, cat] = [await Session.open(running.server), await Session.open(running.server)];
    for (const user of [ben, cat]) user.send('find_match');
    for (const user of [ben, cat]) await user.receive('match_found');
    cat.close();
    const told = async () => {
      ben.send('find_match');
      const { expected_wait_ms } = await ben.receive('waiting');
      ben.send('cancel_match');
      await ben.receive('match_cancelled');
      return expected_wait_ms;
    };
    // At least the time since that room: when it is 5 s, the page says more than "a few moments".
    while (!((await told()) >= 5_000)) await new Promise((resolve) => setTimeout(resolve, 100));
    ben.close();

    const ann = await Visitor.arrive(running.browser, null);
    const waits = [];
    ann.page.on('websocket', (socket) =>
      socket.on('framereceived', ({ payload }) => {
        const message = JSON.parse(payload);
        if (message.type === 'waiting') waits.push(message.payload.expected_wait_ms);
      }),
    );
    await ann.page.goto(running.server.url);
    await ann.start();
    await ann.page.waitForSelector('#expected:not([hidden])');
    assert.equal(waits.length, 1);
    assert.ok(waits[0] >= 5_000, `${waits}`);
    assert.equal(await ann.text('expected'), text('waiting.expected', { time: duration(waits[0]) }));
    assert.match(await ann.text('expected'), /about \d+ seconds/);
    await ann.leave();
  });
});
