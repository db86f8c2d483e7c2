/** Calls between visitors: meeting, muting, next, stop, lost partners. */

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { ENGINES } from './lib/engine.js';
import { runServerAndBrowser } from './lib/running.js';
import { Visitor, talking } from './lib/visitor.js';

for (const engine of ENGINES) describe(`a call in ${engine}`, { timeout: 180_000 }, () => {
  const running = runServerAndBrowser({ engine });

  test('two visitors hear each other after two clicks each', async () => {
    const [ann, ben] = await Promise.all([0, 1].map(() => Visitor.arrive(running.browser, running.server.url)));
    await ann.start();
    await ann.reaches('searching');
    await ben.start();
    await Promise.all([ann, ben].map((visitor) => visitor.reaches('talking')));
    await Promise.all([ann, ben].map((visitor) => visitor.hears()));
    const waited = await ben.firstAudioMs();
    console.log(`from click to first audio: ${Math.round(waited)} ms`);
    await ann.reads('quality', /line · direct/);
    assert.match(await ann.text('clock'), /^\d\d:\d\d$/);
    assert.deepEqual([...ann.errors, ...ben.errors], []);
    await Promise.all([ann, ben].map((visitor) => visitor.leave()));
  });

  test('mute is shown to the partner and can be undone', async () => {
    const [ann, ben] = await talking(running.browser, running.server.url);
    await ann.press('mute');
    await ann.reads('you-state', /muted/);
    await ben.reads('partner-state', /muted/);
    await ann.press('mute');
    await ben.reads('partner-state', /on the line/);
    await ben.hears();
    await Promise.all([ann, ben].map((visitor) => visitor.leave()));
  });

  // Firefox has one fake microphone, and does not list it.
  test('changing the microphone keeps the call', { skip: engine === 'firefox' }, async () => {
    const [ann, ben] = await talking(running.browser, running.server.url);
    await ann.page.click('summary');
    const devices = await ann.page.$$eval('#microphone option', (options) => options.map(({ value }) => value));
    assert.ok(devices.length > 1, `fake devices: ${devices}`);
    await ann.page.selectOption('#microphone', devices.at(-1));
    await ann.page.waitForFunction((id) => window.observed.microphone() === id, devices.at(-1));
    await ben.hears();
    assert.equal(await ann.page.inputValue('#microphone'), devices.at(-1));
    assert.equal(await ann.page.evaluate(() => document.body.dataset.phase), 'talking');
    await Promise.all([ann, ben].map((visitor) => visitor.leave()));
  });

  test('candidates that arrive before their description are kept', async () => {
    const pair = await talking(running.browser, running.server.url, { candidatesFirst: true });
    await Promise.all(pair.map((visitor) => visitor.hears()));
    await Promise.all(pair.map((visitor) => visitor.leave()));
  });

  test('a browser that blocks autoplay gets a button to play', async () => {
    const [ann, ben] = await Promise.all([0, 1].map(() => Visitor.arrive(running.browser, running.server.url)));
    await ann.blockAutoplay();
    await Promise.all([ann, ben].map((visitor) => visitor.start()));
    await ann.reaches('talking');
    await ann.press('play');
    await ann.page.waitForSelector('#play', { state: 'hidden' });
    assert.equal(await ann.page.evaluate(() => document.getElementById('voice').paused), false);
    assert.equal(await ben.page.isHidden('#play'), true);
    await Promise.all([ann, ben].map((visitor) => visitor.leave()));
  });

  test('after Next the partner is informed and finds a third visitor', async () => {
    const [ann, ben] = await talking(running.browser, running.server.url);
    await ann.press('next');
    await ben.reaches('ended');
    await ben.reads('headline', /moved on/);
    const cat = await Visitor.arrive(running.browser, running.server.url);
    await cat.start();
    // Ann waits already, so she meets the third visitor; Ben is matched after Ann has left.
    await Promise.all([ann, cat].map((visitor) => visitor.reaches('talking')));
    await ben.press('next');
    await ben.reaches('searching');
    await ann.press('stop');
    await cat.reaches('ended');
    await cat.press('next');
    await Promise.all([ben, cat].map((visitor) => visitor.reaches('talking')));
    await Promise.all([ben, cat].map((visitor) => visitor.hears()));
    await Promise.all([ann, ben, cat].map((visitor) => visitor.leave()));
  });

  test('Stop informs the partner and turns the microphone off until Start', async () => {
    const [ann, ben] = await talking(running.browser, running.server.url);
    await ann.press('stop');
    await ann.reaches('stopped');
    await ann.reads('you-state', /microphone off/);
    assert.equal(await ann.page.evaluate(() => window.observed.microphones()), 0, 'open microphones');
    await ben.reaches('ended');
    await ben.reads('headline', /hung up/);
    await ann.press('start');
    await ben.press('next');
    await Promise.all([ann, ben].map((visitor) => visitor.reaches('talking')));
    await Promise.all([ann, ben].map((visitor) => visitor.leave()));
  });

  test('a closed tab is reported to the partner at once', async () => {
    const [ann, ben] = await talking(running.browser, running.server.url);
    ann.page.on('dialog', (dialog) => dialog.accept());
    await ann.page.close({ runBeforeUnload: true });
    await ben.reaches('ended');
    await ben.reads('headline', /hung up|gone/);
    await ben.leave();
  });

  test('the setting to continue searches for the next partner automatically', async () => {
    const ann = await Visitor.arrive(running.browser, running.server.url, { settings: { onward: true } });
    const ben = await Visitor.arrive(running.browser, running.server.url);
    await Promise.all([ann, ben].map((visitor) => visitor.start()));
    await ann.reaches('talking');
    await ben.press('stop');
    await ann.reaches('searching');
    await ann.reads('detail', /hung up.*next partner/i);
    await Promise.all([ann, ben].map((visitor) => visitor.leave()));
  });

  test('the fragment of the address selects the queue', async () => {
    const [ann, ben] = await Promise.all(
      ['#en', '#fr'].map((name) => Visitor.arrive(running.browser, running.server.url + name)),
    );
    const cat = await Visitor.arrive(running.browser, `${running.server.url}#fr`);
    await ann.start();
    await ben.start();
    await cat.start();
    await Promise.all([ben, cat].map((visitor) => visitor.reaches('talking')));
    await ann.reaches('searching');
    await Promise.all([ann, ben, cat].map((visitor) => visitor.leave()));
  });
});
