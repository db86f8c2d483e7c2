/**
 * The page over a path on which the answer to an upgrade takes long: a TCP proxy holds it back. The clock
 * of the page is the test's, so that seconds of it take no time.
 */

import assert from 'node:assert/strict';
import { once } from 'node:events';
import net from 'node:net';
import { afterEach, beforeEach, describe, test } from 'node:test';
import { runServerAndBrowser } from './lib/running.js';
import { Visitor } from './lib/visitor.js';

const END_OF_HEAD = '\r\n\r\n';

/** A TCP proxy that holds back what the server answers to an upgrade, until it is told to let it pass. */
class SlowPath {
  #server;
  #sockets = new Set();
  #waiting = [];
  /** All upgrades so far. */
  upgrades = 0;

  static async to(server) {
    const path = new SlowPath();
    path.#server = net.createServer((near) => near.once('data', (first) => path.#join(near, first, server.port)));
    await once(path.#server.listen(0, '127.0.0.1'), 'listening');
    path.url = `http://127.0.0.1:${path.#server.address().port}/`;
    return path;
  }

  #join(near, first, port) {
    const far = net.connect(port, '127.0.0.1');
    for (const [one, other] of [[near, far], [far, near]]) {
      this.#sockets.add(one);
      one.on('error', () => other.destroy());
      one.on('close', () => other.destroy());
    }
    far.write(first);
    near.pipe(far);
    if (!first.toString('latin1').startsWith('GET /ws')) {
      far.pipe(near);
      return;
    }
    let held = Buffer.alloc(0);
    let passes = false;
    far.on('data', (chunk) => {
      if (passes && near.writable) near.write(chunk);
      else held = Buffer.concat([held, chunk]);
      far.emit('held');
    });
    const head = () => held.indexOf(END_OF_HEAD) + END_OF_HEAD.length;
    /** Writes the first `length()` bytes, once the server has answered. */
    const pass = async (length) => {
      while (!held.includes(END_OF_HEAD)) await once(far, 'held');
      near.write(held.subarray(0, length()));
      held = held.subarray(length());
    };
    this.upgrades += 1;
    this.#waiting.push({
      isOpen: () => !near.destroyed,
      closed: new Promise((resolve) => near.once('close', resolve)),
      passHead: () => pass(head),
      passRest: () => {
        near.write(held);
        passes = true;
      },
    });
    this.#server.emit('upgrade');
  }

  /** The next upgrade that has arrived. */
  async next() {
    while (this.#waiting.length === 0) await once(this.#server, 'upgrade');
    return this.#waiting.shift();
  }

  close() {
    this.#server.close();
    for (const socket of this.#sockets) socket.destroy();
  }
}

/** Counts the WebSockets that have opened. Runs in the page before its scripts. */
function countOpened() {
  window.opened = 0;
  window.WebSocket = class extends WebSocket {
    constructor(...args) {
      super(...args);
      this.addEventListener('open', () => (window.opened += 1));
    }
  };
}

describe('a connection whose upgrade is answered late', { timeout: 120_000 }, () => {
  const running = runServerAndBrowser();
  let path;
  let ann;

  beforeEach(async () => {
    path = await SlowPath.to(running.server);
    ann = await Visitor.arrive(running.browser, null, { prepare: countOpened });
    await ann.page.clock.install();
    await ann.page.goto(path.url);
    await ann.checkMicrophone();
    // From here on time passes in the page only where the test says so.
    await ann.page.clock.pauseAt((await ann.page.evaluate(() => Date.now())) + 1_000);
    await ann.press('start');
  });

  afterEach(async () => {
    await ann?.leave();
    path?.close();
  });

  /** Second by second: a timer that fires late would be taken for that of a page that was frozen. */
  async function seconds(count) {
    for (let nth = 0; nth < count; nth += 1) await ann.page.clock.fastForward(1_000);
  }

  /** The server has put the visitor into the queue. */
  const isWaiting = () => ann.page.waitForSelector('#clock:not([hidden])');

  test('is not abandoned after 9 s', async () => {
    const upgrade = await path.next();
    await seconds(9);
    assert.equal(upgrade.isOpen(), true);
    await upgrade.passHead();
    upgrade.passRest();
    await isWaiting();
    assert.equal(path.upgrades, 1);
  });

  test('is not abandoned while it makes progress', async () => {
    const upgrade = await path.next();
    await seconds(9);
    await upgrade.passHead();
    await ann.page.waitForFunction(() => window.opened > 0);
    // 18 s after the beginning, but 9 s after the last progress.
    await seconds(9);
    assert.equal(upgrade.isOpen(), true);
    upgrade.passRest();
    await isWaiting();
    assert.equal(path.upgrades, 1);
  });

  test('succeeds after one attempt that was abandoned when every answer takes 20 s', async () => {
    const first = await path.next();
    await seconds(12);
    await first.closed;
    // The next attempt follows at once.
    await seconds(1);
    const second = await path.next();
    await seconds(20);
    assert.equal(second.isOpen(), true);
    await second.passHead();
    second.passRest();
    await isWaiting();
    assert.equal(path.upgrades, 2);
  });
});
