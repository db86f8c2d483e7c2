/** The page shows what the server last confirmed, and says what to do when it is refused. */

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { after, before, describe, test } from 'node:test';
import { WebSocket } from 'ws';
import { Server } from './lib/server.js';
import { openBrowser } from './lib/engine.js';
import { Visitor } from './lib/visitor.js';

describe('a page that is refused', { timeout: 180_000 }, () => {
  let chromium;

  before(async () => {
    chromium = await openBrowser();
  });

  after(() => chromium?.close());

  /** A server with flags, and a visitor of it. */
  async function visit(t, flags, hash = '') {
    const server = await Server.start(...flags);
    t.after(() => server.down());
    const visitor = await Visitor.arrive(chromium.browser, server.url + hash);
    t.after(() => visitor.leave());
    return { server, visitor };
  }

  /** A server whose places are taken, a visitor of it, and the function that makes room. */
  async function visitFull(t, flag) {
    // More than one: the connections of the browser that loaded the page take places for a while.
    const places = 4;
    const server = await Server.start(flag, String(places));
    t.after(() => server.down());
    const sockets = [];
    for (let nth = 0; nth < places; nth += 1) {
      sockets.push(new WebSocket(`${server.url.replace('http', 'ws')}ws`));
      await once(sockets[nth], 'open');
    }
    const makeRoom = () => sockets.forEach((socket) => socket.terminate());
    t.after(makeRoom);
    const visitor = await Visitor.arrive(chromium.browser, server.url);
    t.after(() => visitor.leave());
    return { visitor, makeRoom };
  }

  /**
   * A visitor whose server is a script: it opens a session and passes on what the page sends.
   * @param {(message: object, send: (type: string, payload: object) => void) => void} script
   */
  async function scripted(t, script, session = {}) {
    const server = await Server.start();
    t.after(() => server.down());
    const visitor = await Visitor.arrive(chromium.browser, 'about:blank');
    t.after(() => visitor.leave());
    await visitor.page.routeWebSocket(/\/ws/, (socket) => {
      const send = (type, payload) => socket.send(JSON.stringify({ type, payload }));
      socket.onMessage((text) => script(JSON.parse(text), send));
      send('session', { session_id: 'me', ice_servers: [], resumed: false, ...session });
    });
    await visitor.page.goto(server.url);
    return visitor;
  }

  test('is in line only when the server has said so', async (t) => {
    const seen = [];
    let answer;
    const ann = await scripted(t, ({ type, payload }, send) => {
      seen.push([type, payload]);
      if (type === 'find_match') answer = () => send('waiting', { queue: 'default' });
    });
    await ann.start();
    await ann.reads('detail', /asking the switchboard/i);
    assert.equal(await ann.page.isVisible('#clock'), false);
    await ann.shoot('state-asking');
    answer();
    await ann.reads('detail', /you are in line/i);
    assert.equal(await ann.page.isVisible('#clock'), true);
  });

  test('is in the line that the server named last, not in that of the address', async (t) => {
    const asked = [];
    let confirm;
    const ann = await scripted(t, ({ type, payload }, send) => {
      if (type !== 'find_match') return;
      asked.push(payload.queue);
      confirm = () => send('waiting', payload);
      if (asked.length === 1) confirm();
    });
    await ann.page.evaluate(() => (location.hash = '#my room'));
    await ann.start();
    await ann.reads('detail', /in the line “my room”/);
    assert.equal(await ann.page.textContent('bdi'), 'my room');
    await ann.page.evaluate(() => (location.hash = '#fr'));
    while (asked.length < 2) await ann.page.waitForTimeout(20);
    assert.match(await ann.page.textContent('#detail'), /in the line “my room”/);
    confirm();
    await ann.reads('detail', /in the line “fr”/);
    assert.deepEqual(asked, ['my:20room', 'fr']);
  });

  test('goes back into line when the server says that it waits', async (t) => {
    const seen = [];
    let waits;
    const ann = await scripted(t, ({ type }, send) => {
      seen.push(type);
      if (type !== 'find_match') return;
      waits = () => send('waiting', { queue: 'default' });
      waits();
      send('match_found', { room_id: 'r'.repeat(22), peer_id: 'p'.repeat(22), initiator: true });
    });
    await ann.start();
    await ann.reaches('connecting');
    assert.equal(await ann.page.textContent('#users'), '');
    waits();
    await ann.reaches('searching');
    await ann.reads('detail', /you are in line/i);
    assert.equal(seen.filter((type) => type === 'find_match').length, 1, 'another would leave the next partner');
  });

  test('waits for the time that the server names, and then asks again', async (t) => {
    let asked = 0;
    const ann = await scripted(t, ({ type }, send) => {
      if (type !== 'find_match') return;
      asked += 1;
      if (asked === 1) {
        const refused = { code: 'too_many_matches', message: '', refused: 'find_match', retry_after_ms: 2_500 };
        send('error', refused);
      } else send('waiting', { queue: 'default' });
    });
    await ann.start();
    await ann.reads('detail', /changed partners very often/);
    await ann.reads('clock', /00:0[012]/);
    await ann.shoot('state-held');
    await ann.reads('detail', /you are in line/i);
    assert.equal(asked, 2);
  });

  test('explains a name of a queue that the server does not take', async (t) => {
    const ann = await scripted(t, ({ type }, send) => {
      if (type === 'find_match') send('error', { code: 'bad_queue', message: 'no' });
    });
    await ann.start();
    await ann.reaches('refused');
    await ann.reads('headline', /no usable name/);
    await ann.reads('start', /try again/i);
    await ann.press('start');
    await ann.reads('headline', /no usable name/);
  });

  test('a name that is too long is explained before and after Start, and can be corrected', async (t) => {
    const { visitor } = await visit(t, [], `#${'x'.repeat(65)}`);
    await visitor.reads('notice', /64 letters/);
    await visitor.start();
    await visitor.reaches('refused');
    await visitor.reads('headline', /too long/);
    await visitor.shoot('state-long-queue');
    await visitor.page.evaluate(() => (location.hash = '#short'));
    await visitor.press('start');
    await visitor.reads('detail', /in the line “short”/);
    await visitor.page.evaluate(() => (location.hash = ''));
    await visitor.reads('detail', /you are in line\./i);
  });

  for (const [hash, label] of [['#my room', 'my room'], ['#café', 'café'], ['#100%', '100%'], ['#%E0', '%E0']]) {
    test(`two visitors of ${hash} meet`, async (t) => {
      const { server, visitor: ann } = await visit(t, [], hash);
      await ann.start();
      await ann.reads('detail', new RegExp(`in the line “${label}”`));
      const ben = await Visitor.arrive(chromium.browser, server.url + hash);
      t.after(() => ben.leave());
      await ben.start();
      await Promise.all([ann, ben].map((visitor) => visitor.reaches('talking')));
      assert.deepEqual([...ann.errors, ...ben.errors], []);
    });
  }

  test('says that the server is full, and gets in when it is not', async (t) => {
    const { visitor, makeRoom } = await visitFull(t, '--max-connections');
    await visitor.start();
    await visitor.reads('banner', /is full/);
    await visitor.reads('detail', /you are not in line/i);
    await visitor.shoot('state-full');
    makeRoom();
    await visitor.reads('detail', /you are in line/i, 30_000);
    assert.equal(await visitor.page.isVisible('#banner'), false);
  });

  test('says that its address is not allowed', async (t) => {
    const { visitor } = await visit(t, ['--allow-origin', 'https://talk.example']);
    await visitor.start();
    await visitor.reads('banner', /does not accept this page/);
  });

  test('says that too many connections come from its address', async (t) => {
    const { visitor } = await visitFull(t, '--max-connections-per-address');
    await visitor.start();
    await visitor.reads('banner', /from your network address/);
  });

  test('says that nothing answers', async (t) => {
    const { server, visitor } = await visit(t, []);
    await visitor.checkMicrophone();
    await server.down();
    await visitor.press('start');
    await visitor.reads('banner', /cannot be reached/);
    await visitor.reads('detail', /you are not in line/i);
    await server.up();
    await visitor.reads('detail', /you are in line/i, 30_000);
  });

  test('says that WebSocket is blocked on the way', async (t) => {
    const server = await Server.start();
    t.after(() => server.down());
    const ann = await Visitor.arrive(chromium.browser, 'about:blank');
    t.after(() => ann.leave());
    await ann.page.addInitScript(() => {
      window.WebSocket = class extends EventTarget {
        constructor() {
          super();
          setTimeout(() => this.dispatchEvent(Object.assign(new Event('close'), { code: 1006 })), 10);
        }
        close() {}
      };
    });
    await ann.page.goto(server.url);
    await ann.start();
    await ann.reads('banner', /blocks calls/, 30_000);
  });
});
