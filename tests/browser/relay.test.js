/** Calls through a real TURN server with credentials that the server made for the session. */

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { Coturn, Server } from './lib/server.js';
import { openBrowser } from './lib/engine.js';
import { Visitor, talking } from './lib/visitor.js';

const SETTINGS = { relayOnly: true };

describe('a relay', { timeout: 120_000 }, () => {
  let coturn;
  let chromium;

  before(async () => {
    coturn = await Coturn.start('north-wind');
    chromium = await openBrowser();
  });

  after(async () => {
    await chromium?.close();
    await coturn?.stop();
  });

  test('carries the audio of visitors who hide their address', async (t) => {
    const server = await Server.start(...coturn.flags('north-wind'));
    t.after(() => server.down());
    const pair = await talking(chromium.browser, server.url, { settings: SETTINGS });
    await Promise.all(pair.map((visitor) => visitor.hears()));
    assert.deepEqual(await Promise.all(pair.map((visitor) => visitor.path())), ['relay', 'relay']);
    await pair[0].reads('quality', /through a relay/);
    await Promise.all(pair.map((visitor) => visitor.leave()));
  });

  test('that restarts during a call is used again and the call recovers', async (t) => {
    const server = await Server.start(...coturn.flags('north-wind'));
    t.after(() => server.down());
    const pair = await talking(chromium.browser, server.url, { settings: SETTINGS });
    await coturn.down();
    await Promise.all(pair.map((visitor) => visitor.reads('detail', /sound has stopped/)));
    await coturn.up();
    await Promise.all(pair.map((visitor) => visitor.reads('detail', /as long as you both like/, 40_000)));
    await Promise.all(pair.map((visitor) => visitor.hears()));
    await Promise.all(pair.map((visitor) => visitor.leave()));
  });

  test('that refuses the credentials is named as the cause', async (t) => {
    const server = await Server.start(...coturn.flags('south-wind'));
    t.after(() => server.down());
    const pair = await Promise.all(
      [0, 1].map(() => Visitor.arrive(chromium.browser, server.url, { settings: SETTINGS })),
    );
    await Promise.all(pair.map((visitor) => visitor.start()));
    await Promise.any(pair.map((visitor) => visitor.reads('detail', /refused the password.*401/)));
    await Promise.all(pair.map((visitor) => visitor.reaches('ended')));
    await Promise.all(pair.map((visitor) => visitor.leave()));
  });

  test('that does not exist is named as the cause', async (t) => {
    const server = await Server.start();
    t.after(() => server.down());
    const pair = await Promise.all(
      [0, 1].map(() => Visitor.arrive(chromium.browser, server.url, { settings: SETTINGS })),
    );
    await Promise.all(pair.map((visitor) => visitor.start()));
    await Promise.any(pair.map((visitor) => visitor.reads('headline', /no relay/)));
    await Promise.all(pair.map((visitor) => visitor.leave()));
  });
});
