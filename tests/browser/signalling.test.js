/** Calls continue while signalling is down. */

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { Proxy, Server } from './lib/server.js';
import { ENGINES, openBrowser } from './lib/engine.js';
import { Visitor, talking } from './lib/visitor.js';

for (const engine of ENGINES) describe(`signalling that is lost, in ${engine},`, { timeout: 180_000 }, () => {
  let opened;

  before(async () => {
    opened = await openBrowser({ engine });
  });

  after(() => opened?.close());

  test('a server crash and restart during a call does not end the call', async (t) => {
    const server = await Server.start();
    t.after(() => server.down());
    const pair = await talking(opened.browser, server.url);
    await server.down('SIGKILL');
    await Promise.all(pair.map((visitor) => visitor.reads('banner', /cannot be reached.*call continues/)));
    await Promise.all(pair.map((visitor) => visitor.hears()));
    await pair[0].shoot('desktop-light-signalling-lost');
    await server.up();
    await Promise.all(pair.map((visitor) => visitor.reads('detail', /no longer has this call/)));
    await Promise.all(pair.map((visitor) => visitor.hears()));
    assert.equal(await pair[0].page.isHidden('#banner'), true);
    // Next reaches the partner without signalling too, over the data channel.
    await pair[0].press('next');
    await pair[1].reaches('ended');
    await pair[1].press('next');
    await Promise.all(pair.map((visitor) => visitor.reaches('talking')));
    await Promise.all(pair.map((visitor) => visitor.leave()));
  });

  test('a graceful shutdown is announced before the connection closes', async (t) => {
    const server = await Server.start('--drain-timeout', '2s');
    t.after(() => server.down());
    const pair = await talking(opened.browser, server.url);
    const down = server.down('SIGTERM');
    await pair[0].reads('banner', /about to restart.*call continues/);
    await down;
    await pair[0].hears();
    await server.up();
    await pair[0].reads('detail', /no longer has this call/, 40_000);
    await Promise.all(pair.map((visitor) => visitor.leave()));
  });

  test('a waiting visitor still waits after a server restart', async (t) => {
    const server = await Server.start();
    t.after(() => server.down());
    const ann = await Visitor.arrive(opened.browser, server.url);
    await ann.start();
    await ann.reaches('searching');
    await server.down('SIGKILL');
    await ann.reads('banner', /cannot be reached/);
    await server.up();
    const ben = await Visitor.arrive(opened.browser, server.url);
    await ben.start();
    await Promise.all([ann, ben].map((visitor) => visitor.reaches('talking', 30_000)));
    await Promise.all([ann, ben].map((visitor) => visitor.leave()));
  });

  test('after one connection is cut the call continues, and both pages show the state', async (t) => {
    const server = await Server.start();
    t.after(() => server.down());
    const proxy = await Proxy.inFrontOf(server);
    t.after(() => proxy.close());
    const ann = await Visitor.arrive(opened.browser, proxy.url);
    const ben = await Visitor.arrive(opened.browser, server.url);
    await Promise.all([ann, ben].map((visitor) => visitor.start()));
    await Promise.all([ann, ben].map((visitor) => visitor.reaches('talking')));
    proxy.cut();
    await ann.reads('banner', /cannot be reached.*call continues/);
    await ben.reads('detail', /lost the connection|no longer on the switchboard/);
    await Promise.all([ann, ben].map((visitor) => visitor.hears()));
    proxy.restore();
    // With a resume window all is as before; without one they talk on without the switchboard.
    await ann.reads('detail', /as long as you both like|no longer has this call/, 40_000);
    await Promise.all([ann, ben].map((visitor) => visitor.hears()));
    await Promise.all([ann, ben].map((visitor) => visitor.leave()));
  });
});
