/** Accessibility: keyboard alone, axe-core, light and dark, phone and desktop. */

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { after, before, describe, test } from 'node:test';
import { Server } from './lib/server.js';
import { openBrowser } from './lib/engine.js';
import { Visitor } from './lib/visitor.js';

const AXE = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
const DESKTOP = { viewport: { width: 1000, height: 860 } };
const PHONE = { viewport: { width: 375, height: 760 }, deviceScaleFactor: 2, isMobile: true, hasTouch: true };

/** @param {Visitor} visitor */
async function violations(visitor) {
  await visitor.page.evaluate(AXE);
  const { violations } = await visitor.page.evaluate(() => window.axe.run());
  return violations.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html).join(' ')}`);
}

describe('accessibility', { timeout: 180_000 }, () => {
  let server;
  let chromium;

  before(async () => {
    server = await Server.start();
    chromium = await openBrowser();
  });

  after(async () => {
    await chromium?.close();
    await server?.down();
  });

  test('a call can be started and ended by keyboard alone', async () => {
    const ben = await Visitor.arrive(chromium.browser, server.url);
    await ben.start();
    const ann = await Visitor.arrive(chromium.browser, server.url);
    const { keyboard } = ann.page;
    await keyboard.press('Tab');
    await keyboard.press('Enter');
    await ann.reaches('ready');
    // The focus has moved to Start.
    await keyboard.press('Enter');
    await ann.reaches('talking');
    await keyboard.press('m');
    await ann.reads('you-state', /muted/);
    await keyboard.press('m');
    await ann.reads('you-state', /microphone on/);
    await keyboard.press('s');
    await ann.reaches('stopped');
    await ben.reaches('ended');
    await keyboard.press('n');
    await ann.reaches('searching');
    await Promise.all([ann, ben].map((visitor) => visitor.leave()));
  });

  test('single-letter shortcuts can be disabled', async () => {
    const ann = await Visitor.arrive(chromium.browser, server.url, { settings: { shortcuts: false } });
    await ann.checkMicrophone();
    await ann.page.keyboard.press('m');
    await ann.page.keyboard.press('n');
    assert.match(await ann.text('you-state'), /microphone on/);
    assert.equal(await ann.page.evaluate(() => document.body.dataset.phase), 'ready');
    await ann.leave();
  });

  test('every change of phase is announced', async () => {
    const ann = await Visitor.arrive(chromium.browser, server.url);
    await ann.reads('announcer', /talk with a stranger/);
    await ann.checkMicrophone();
    await ann.reads('announcer', /say something/);
    await ann.press('start');
    await ann.reads('announcer', /looking for someone/);
    await ann.leave();
  });

  for (const [device, viewport] of [['desktop', DESKTOP], ['phone', PHONE]]) {
    for (const colorScheme of ['light', 'dark']) {
      test(`axe-core finds no violation on a ${device}, ${colorScheme}`, async () => {
        const options = { ...viewport, colorScheme, reducedMotion: device === 'phone' ? 'reduce' : 'no-preference' };
        const ann = await Visitor.arrive(chromium.browser, server.url, options);
        const ben = await Visitor.arrive(chromium.browser, server.url, options);
        const found = [];
        const inspect = async (state) => {
          // Wait until animations and colour transitions have ended.
          await ann.page.waitForTimeout(900);
          await ann.shoot(`${device}-${colorScheme}-${state}`);
          found.push(...(await violations(ann)).map((violation) => `${state}: ${violation}`));
          const wide = await ann.page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
          if (wide > 0) found.push(`${state}: ${wide} px wider than the screen`);
        };
        await inspect('welcome');
        await ann.checkMicrophone();
        await inspect('ready');
        await ann.press('start');
        await inspect('searching');
        await ben.start();
        await ann.reaches('talking');
        await ann.reads('quality', /ms/);
        await inspect('talking');
        await ann.press('mute');
        await ann.page.click('summary');
        await inspect('settings');
        await ann.page.click('summary');
        await ben.press('stop');
        await ann.reaches('ended');
        await inspect('ended');
        assert.deepEqual(found, []);
        assert.deepEqual(ann.errors, []);
        await Promise.all([ann, ben].map((visitor) => visitor.leave()));
      });
    }
  }
});
