/** The question whether a TURN server serves yet. */

import assert from 'node:assert/strict';
import dgram from 'node:dgram';
import { once } from 'node:events';
import { describe, test } from 'node:test';
import { answersStun } from './lib/stun.js';

async function bound(port = 0) {
  const socket = dgram.createSocket('udp4');
  socket.bind(port, '127.0.0.1');
  await once(socket, 'listening');
  return socket;
}

async function closedPort() {
  const socket = await bound();
  const { port } = socket.address();
  await new Promise((resolve) => socket.close(resolve));
  return port;
}

describe('the STUN request', { timeout: 10_000 }, () => {
  test('is repeated until the server has started', async (t) => {
    const port = await closedPort();
    const answered = answersStun(port);
    // ICMP has answered several requests by then.
    await new Promise((resolve) => setTimeout(resolve, 300));
    const server = await bound(port);
    t.after(() => server.close());
    server.on('message', (request, from) => server.send(request, from.port, from.address));
    await answered;
  });

  test('ends with an error if no server starts', async () => {
    const port = await closedPort();
    await assert.rejects(answersStun(port, 200), new RegExp(`port ${port} answers no STUN`));
  });
});
