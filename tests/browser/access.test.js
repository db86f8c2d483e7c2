/** Accessibility by keyboard and by announcements. appearance.test.js runs axe-core in every state. */

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { runServerAndBrowser } from './lib/running.js';
import { Visitor } from './lib/visitor.js';

describe('accessibility', { timeout: 180_000 }, () => {
  const running = runServerAndBrowser();

  test('a call can be started and ended by keyboard alone', async () => {
    const ben = await Visitor.arrive(running.browser, running.server.url);
    await ben.start();
    const ann = await Visitor.arrive(running.browser, running.server.url);
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
    const ann = await Visitor.arrive(running.browser, running.server.url, { settings: { shortcuts: false } });
    await ann.checkMicrophone();
    await ann.page.keyboard.press('m');
    await ann.page.keyboard.press('n');
    assert.match(await ann.text('you-state'), /microphone on/);
    assert.equal(await ann.page.evaluate(() => document.body.dataset.phase), 'ready');
    await ann.leave();
  });

  test('every change of phase is announced', async () => {
    const ann = await Visitor.arrive(running.browser, running.server.url);
    await ann.reads('announcer', /talk with a stranger/);
    await ann.checkMicrophone();
    await ann.reads('announcer', /say something/);
    await ann.press('start');
    await ann.reads('announcer', /looking for someone/);
    await ann.leave();
  });
});
