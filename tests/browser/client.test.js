/** The protocol client against a scripted server. */

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { afterEach, beforeEach, describe, test } from 'node:test';
import { WebSocket, WebSocketServer } from 'ws';
import { SwitchboardClient } from '../../src/page/web/client.js';

const ROOM = { room_id: 'room-1', peer_id: 'peer', initiator: true };

/** One accepted connection, with a queue of the received messages. */
class ServerConnection {
  #messages = [];
  #waiting = [];

  constructor(socket, request) {
    this.socket = socket;
    this.resume = new URL(request.url, 'ws://here').searchParams.get('resume');
    socket.on('message', (data) => {
      const message = JSON.parse(data);
      const first = this.#waiting.shift();
      if (first === undefined) this.#messages.push(message);
      else first(message);
    });
  }

  send(type, payload, more = {}) {
    this.socket.send(JSON.stringify({ type, payload, ...more }));
  }

  session(more = {}) {
    this.send('session', { session_id: 'me', ice_servers: [], resumed: false, ...more });
  }

  receive() {
    if (this.#messages.length > 0) return Promise.resolve(this.#messages.shift());
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  /** Asserts that the client has sent nothing: the marker is the next message. */
  async receivesNothing(client) {
    client.findMatch('marker');
    assert.deepEqual(await this.receive(), { type: 'find_match', payload: { queue: 'marker' } });
  }
}

describe('the protocol client', { timeout: 20_000 }, () => {
  let server;
  let client;
  let connections;
  let acceptWaiters;

  beforeEach(async () => {
    connections = [];
    acceptWaiters = [];
    server = new WebSocketServer({ port: 0, host: '127.0.0.1' });
    await once(server, 'listening');
    server.on('connection', (socket, request) => {
      const connection = new ServerConnection(socket, request);
      const first = acceptWaiters.shift();
      if (first === undefined) connections.push(connection);
      else first(connection);
    });
    client = newClient();
  });

  afterEach(() => {
    client.close();
    for (const socket of server.clients) socket.terminate();
    server.close();
  });

  function newClient(options = {}) {
    const url = `ws://127.0.0.1:${server.address().port}/ws`;
    return new SwitchboardClient(url, { WebSocket, backoffFirstMs: 5, backoffMostMs: 40, ...options });
  }

  function accept() {
    if (connections.length > 0) return Promise.resolve(connections.shift());
    return new Promise((resolve) => acceptWaiters.push(resolve));
  }

  async function event(type) {
    const [{ detail }] = await once(client, type);
    return detail;
  }

  /** Brings the client into ROOM; returns the server's end of its connection. */
  async function inRoom(session) {
    client.connect();
    const connection = await accept();
    connection.session(session);
    await event('session');
    client.findMatch();
    await connection.receive();
    connection.send('match_found', ROOM);
    assert.deepEqual(await event('match'), { roomId: 'room-1', peerId: 'peer', initiator: true });
    return connection;
  }

  test('puts the room_id into every relayed message', async () => {
    const connection = await inRoom();
    for (const type of ['offer', 'answer', 'ice_candidate', 'signal']) {
      assert.equal(client.signal(type, { n: 1 }), true);
      assert.deepEqual(await connection.receive(), { type, room_id: 'room-1', payload: { n: 1 } });
    }
  });

  test('sends no relayed message outside a room', async () => {
    const connection = await inRoom();
    client.leaveRoom();
    assert.deepEqual(await connection.receive(), { type: 'leave_room', room_id: 'room-1' });
    assert.equal(client.signal('offer', {}), false);
    await connection.receivesNothing(client);
  });

  test('delivers no message of a room that was left', async () => {
    const connection = await inRoom();
    const received = [];
    client.addEventListener('relay', ({ detail }) => received.push(detail.payload));
    client.addEventListener('peer_left', () => received.push('peer_left'));
    client.findMatch();
    connection.send('offer', 'no room');
    connection.send('peer_left', { room_id: 'room-1', reason: 'left' });
    connection.send('match_found', { ...ROOM, room_id: 'room-2' });
    connection.send('offer', 'old room', { room_id: 'room-1' });
    connection.send('offer', 'new room', { room_id: 'room-2' });
    await event('relay');
    assert.deepEqual(received, ['new room']);
  });

  test('repeats find_match after the connection was lost', async () => {
    client.connect();
    const connection = await accept();
    connection.session();
    await event('session');
    client.findMatch('en');
    await connection.receive();
    connection.socket.terminate();
    const next = await accept();
    next.session();
    assert.deepEqual(await next.receive(), { type: 'find_match', payload: { queue: 'en' } });
  });

  test('sends find_match after connecting when it was called before', async () => {
    client.findMatch();
    client.connect();
    const connection = await accept();
    connection.session();
    assert.deepEqual(await connection.receive(), { type: 'find_match' });
  });

  test('emits room_lost when the session could not be resumed', async () => {
    const connection = await inRoom({ resume_token: 'token' });
    connection.socket.terminate();
    const next = await accept();
    assert.equal(next.resume, 'token');
    next.session({ resumed: false });
    assert.deepEqual(await event('room_lost'), { roomId: 'room-1' });
    assert.equal(client.room, null);
  });

  test('keeps the room of a resumed session', async () => {
    const connection = await inRoom({ resume_token: 'token' });
    connection.socket.terminate();
    const next = await accept();
    next.session({ resumed: true, resume_token: 'other', state: 'in_room', ...ROOM });
    assert.equal((await event('session')).resumed, true);
    assert.equal(client.room.roomId, 'room-1');
    assert.equal(client.signal('signal', 1), true);
    assert.equal((await next.receive()).room_id, 'room-1');
  });

  test('emits match and peer_left that were lost with the connection, once each', async () => {
    const connection = await inRoom({ resume_token: 'token' });
    connection.socket.terminate();
    const next = await accept();
    const emitted = [];
    for (const type of ['peer_left', 'match']) client.addEventListener(type, () => emitted.push(type));
    next.session({ resumed: true, resume_token: 'other', state: 'idle' });
    assert.deepEqual(await event('peer_left'), { roomId: 'room-1', reason: 'disconnected' });
    // The server may have kept the message too: it is emitted once.
    next.send('peer_left', { room_id: 'room-1', reason: 'left' });
    client.findMatch();
    await next.receive();
    next.socket.terminate();
    const last = await accept();
    last.session({ resumed: true, state: 'in_room', ...ROOM, room_id: 'room-2' });
    last.send('match_found', { ...ROOM, room_id: 'room-2' });
    assert.equal((await event('match')).roomId, 'room-2');
    last.send('offer', 'hello', { room_id: 'room-2' });
    await event('relay');
    assert.deepEqual(emitted, ['peer_left', 'match']);
  });

  test('leaves a room when match_found crosses cancel_match', async () => {
    client.connect();
    const connection = await accept();
    connection.session();
    await event('session');
    client.addEventListener('match', () => assert.fail('emitted match'));
    client.findMatch();
    client.cancelMatch();
    connection.send('match_found', ROOM);
    await connection.receive();
    assert.equal((await connection.receive()).type, 'cancel_match');
    assert.deepEqual(await connection.receive(), { type: 'leave_room', room_id: 'room-1' });
  });

  test('emits errors except those of crossing messages', async () => {
    const connection = await inRoom();
    connection.send('error', { code: 'not_in_room', message: '' });
    connection.send('error', { code: 'not_waiting', message: '' });
    connection.send('error', { code: 'rate_limited', message: 'slow down' });
    assert.deepEqual(await event('refused'), { code: 'rate_limited', message: 'slow down' });
  });

  test('ignores input that is not a protocol message', async () => {
    const connection = await inRoom();
    for (const text of ['', 'null', '[]', '1', '{}', '{"type":1}', '{"type":"constructor"}', 'x']) {
      connection.socket.send(text);
    }
    connection.socket.send(Buffer.from('{"type":"peer_left","payload":{"room_id":"room-1"}}'));
    connection.send('offer', null);
    assert.deepEqual(await event('relay'), { type: 'offer', payload: null });
    assert.equal(client.room.roomId, 'room-1');
  });

  test('reconnects with full-jitter backoff up to the maximum', async () => {
    client = newClient({ random: () => 1 });
    const waits = [];
    const enough = new Promise((resolve) => {
      client.addEventListener('status', ({ detail }) => {
        if (detail.status === 'retrying') waits.push(Math.round(detail.retryAt - Date.now()));
        if (waits.length === 6) resolve();
      });
    });
    server.on('connection', (socket) => socket.terminate());
    client.connect();
    await enough;
    for (const [nth, most] of [5, 10, 20, 40, 40, 40].entries()) {
      assert.ok(waits[nth] <= most && waits[nth] >= most - 4, `${waits}`);
    }
  });

  test('abandons a silent connection without ending its session', async () => {
    client = newClient({ silenceMs: 30, pongMs: 30 });
    const connection = await inRoom({ resume_token: 'token' });
    let closed = false;
    connection.socket.on('close', () => (closed = true));
    assert.equal((await connection.receive()).type, 'ping');
    const next = await accept();
    assert.equal(next.resume, 'token');
    assert.equal(closed, false, 'a Close frame would have ended the session');
    next.session({ resumed: true, resume_token: 'other', state: 'in_room', ...ROOM });
    await once(connection.socket, 'close');
    assert.equal(client.room.roomId, 'room-1');
  });

  test('does not resume a session that was closed with a Close frame', async () => {
    const connection = await inRoom({ resume_token: 'token' });
    connection.socket.close(4001);
    assert.equal((await accept()).resume, null);
  });

  test('does not reconnect after close()', async () => {
    const connection = await inRoom();
    client.close();
    const [code] = await once(connection.socket, 'close');
    assert.equal(code, 1000);
    assert.equal(client.status, 'closed');
  });
});
