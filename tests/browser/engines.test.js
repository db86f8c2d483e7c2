/** Calls between different engines: each negotiates with the other's offer. */

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { openBrowser } from './lib/engine.js';
import { Server } from './lib/server.js';
import { Visitor } from './lib/visitor.js';

describe('a call between Chromium and Firefox', { timeout: 120_000 }, () => {
  let server;
  const opened = {};

  before(async () => {
    server = await Server.start();
    for (const engine of ['chromium', 'firefox']) opened[engine] = await openBrowser({ engine });
  });

  after(async () => {
    await Promise.all(Object.values(opened).map((browser) => browser.close()));
    await server?.down();
  });

  for (const [first, second] of [['chromium', 'firefox'], ['firefox', 'chromium']]) {
    test(`${first} sends the offer and ${second} the answer; both hear, see mute and hang up`, async () => {
      const ann = await Visitor.arrive(opened[first].browser, server.url);
      const ben = await Visitor.arrive(opened[second].browser, server.url);
      // The one that waits longer is the initiator.
      await ann.start();
      await ann.reaches('searching');
      await ben.start();
      const pair = [ann, ben];
      await Promise.all(pair.map((visitor) => visitor.reaches('talking')));
      await Promise.all(pair.map((visitor) => visitor.hears()));
      for (const visitor of pair) await visitor.reads('quality', /line · direct/);
      await ben.press('mute');
      await ann.reads('partner-state', /muted/);
      await ben.press('mute');
      await ann.reads('partner-state', /on the line/);
      await ann.hears();
      await ann.press('next');
      await ben.reaches('ended');
      await ben.reads('headline', /moved on/);
      assert.deepEqual(pair.flatMap(({ errors }) => errors), []);
      await Promise.all(pair.map((visitor) => visitor.leave()));
    });
  }
});
