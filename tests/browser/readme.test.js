/** The client that README.md prints works: two of them meet and greet each other. */

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { after, before, describe, test } from 'node:test';
import { WebSocket } from 'ws';
import { Server } from './lib/server.js';

describe('the client in README.md', { timeout: 20_000 }, () => {
  let server;
  const sockets = [];

  before(async () => {
    server = await Server.start();
  });

  after(async () => {
    for (const socket of sockets) socket.terminate();
    await server.down();
  });

  /** Runs the client against the server of this test. The first line that it logs. */
  function run(code) {
    class Local extends WebSocket {
      constructor(url) {
        assert.equal(url, 'ws://localhost:8080/ws');
        super(server.url.replace(/^http/, 'ws') + 'ws');
        sockets.push(this);
      }
    }
    return new Promise((resolve) => {
      const log = (...words) => resolve(words.join(' '));
      new Function('WebSocket', 'console', code)(Local, { log });
    });
  }

  test('meets another one and greets it', async () => {
    const readme = readFileSync(new URL('../../README.md', import.meta.url), 'utf8');
    const [, code] = readme.match(/^```js client\n([^]*?)^```$/m);
    const received = await Promise.all([run(code), run(code)]);
    assert.deepEqual(received, ['the partner says hello', 'the partner says hello']);
  });
});
