/** The laws of the protocol client, against a server that does exactly what each test says. */

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { afterEach, beforeEach, describe, test } from 'node:test';
import { WebSocket, WebSocketServer } from 'ws';
import { SwitchboardClient } from '../../src/page/web/client.js';

const ROOM = { room_id: 'room-1', peer_id: 'peer', initiator: true };

/** One accepted connection: what came in, in order, each to be waited for. */
class Line {
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

  say(type, payload, more = {}) {
    this.socket.send(JSON.stringify({ type, payload, ...more }));
  }

  session(more = {}) {
    this.say('session', { session_id: 'me', ice_servers: [], resumed: false, ...more });
  }

  hear() {
    if (this.#messages.length > 0) return Promise.resolve(this.#messages.shift());
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  /** Whatever the client has sent by now is heard before the answer to this. */
  async nothing(client) {
    client.findMatch('marker');
    assert.deepEqual(await this.hear(), { type: 'find_match', payload: { queue: 'marker' } });
  }
}

describe('the protocol client', { timeout: 20_000 }, () => {
  let server;
  let client;
  let lines;
  let callers;

  beforeEach(async () => {
    lines = [];
    callers = [];
    server = new WebSocketServer({ port: 0, host: '127.0.0.1' });
    await once(server, 'listening');
    server.on('connection', (socket, request) => {
      const line = new Line(socket, request);
      const first = callers.shift();
      if (first === undefined) lines.push(line);
      else first(line);
    });
    client = dial();
  });

  afterEach(() => {
    client.close();
    for (const socket of server.clients) socket.terminate();
    server.close();
  });

  function dial(options = {}) {
    const url = `ws://127.0.0.1:${server.address().port}/ws`;
    return new SwitchboardClient(url, { WebSocket, backoffFirstMs: 5, backoffMostMs: 40, ...options });
  }

  function accept() {
    if (lines.length > 0) return Promise.resolve(lines.shift());
    return new Promise((resolve) => callers.push(resolve));
  }

  async function event(type) {
    const [{ detail }] = await once(client, type);
    return detail;
  }

  /** A client in ROOM, and the server's end of its connection. */
  async function inRoom(session) {
    client.connect();
    const line = await accept();
    line.session(session);
    await event('session');
    client.findMatch();
    await line.hear();
    line.say('match_found', ROOM);
    assert.deepEqual(await event('match'), { roomId: 'room-1', peerId: 'peer', initiator: true });
    return line;
  }

  test('puts the room into every relayed message', async () => {
    const line = await inRoom();
    for (const type of ['offer', 'answer', 'ice_candidate', 'signal']) {
      assert.equal(client.signal(type, { n: 1 }), true);
      assert.deepEqual(await line.hear(), { type, room_id: 'room-1', payload: { n: 1 } });
    }
  });

  test('sends nothing to a partner when there is none', async () => {
    const line = await inRoom();
    client.leaveRoom();
    assert.deepEqual(await line.hear(), { type: 'leave_room', room_id: 'room-1' });
    assert.equal(client.signal('offer', {}), false);
    await line.nothing(client);
  });

  test('delivers nothing of a room that was left, however late it comes', async () => {
    const line = await inRoom();
    const heard = [];
    client.addEventListener('relay', ({ detail }) => heard.push(detail.payload));
    client.addEventListener('peer_left', () => heard.push('peer_left'));
    client.findMatch();
    line.say('offer', 'no room');
    line.say('peer_left', { room_id: 'room-1', reason: 'left' });
    line.say('match_found', { ...ROOM, room_id: 'room-2' });
    line.say('offer', 'old room', { room_id: 'room-1' });
    line.say('offer', 'new room', { room_id: 'room-2' });
    await event('relay');
    assert.deepEqual(heard, ['new room']);
  });

  test('asks for a match again when the connection was lost meanwhile', async () => {
    client.connect();
    const line = await accept();
    line.session();
    await event('session');
    client.findMatch('en');
    await line.hear();
    line.socket.terminate();
    const next = await accept();
    next.session();
    assert.deepEqual(await next.hear(), { type: 'find_match', payload: { queue: 'en' } });
  });

  test('asked before there is a connection, asks when there is one', async () => {
    client.findMatch();
    client.connect();
    const line = await accept();
    line.session();
    assert.deepEqual(await line.hear(), { type: 'find_match' });
  });

  test('says that a room is lost when the session could not be resumed', async () => {
    const line = await inRoom({ resume_token: 'token' });
    line.socket.terminate();
    const next = await accept();
    assert.equal(next.resume, 'token');
    next.session({ resumed: false });
    assert.deepEqual(await event('room_lost'), { roomId: 'room-1' });
    assert.equal(client.room, null);
  });

  test('keeps the room of a resumed session', async () => {
    const line = await inRoom({ resume_token: 'token' });
    line.socket.terminate();
    const next = await accept();
    next.session({ resumed: true, resume_token: 'other', state: 'in_room', ...ROOM });
    assert.equal((await event('session')).resumed, true);
    assert.equal(client.room.roomId, 'room-1');
    assert.equal(client.signal('signal', 1), true);
    assert.equal((await next.hear()).room_id, 'room-1');
  });

  test('tells of a match and of a parting that were lost with the connection', async () => {
    const line = await inRoom({ resume_token: 'token' });
    line.socket.terminate();
    const next = await accept();
    const told = [];
    for (const type of ['peer_left', 'match']) client.addEventListener(type, () => told.push(type));
    next.session({ resumed: true, resume_token: 'other', state: 'idle' });
    assert.deepEqual(await event('peer_left'), { roomId: 'room-1', reason: 'disconnected' });
    // The server may have kept it after all; once is enough.
    next.say('peer_left', { room_id: 'room-1', reason: 'left' });
    client.findMatch();
    await next.hear();
    next.socket.terminate();
    const last = await accept();
    last.session({ resumed: true, state: 'in_room', ...ROOM, room_id: 'room-2' });
    last.say('match_found', { ...ROOM, room_id: 'room-2' });
    assert.equal((await event('match')).roomId, 'room-2');
    last.say('offer', 'hello', { room_id: 'room-2' });
    await event('relay');
    assert.deepEqual(told, ['peer_left', 'match']);
  });

  test('leaves a room that it is matched into after it has cancelled', async () => {
    client.connect();
    const line = await accept();
    line.session();
    await event('session');
    client.addEventListener('match', () => assert.fail('told of a match'));
    client.findMatch();
    client.cancelMatch();
    line.say('match_found', ROOM);
    await line.hear();
    assert.equal((await line.hear()).type, 'cancel_match');
    assert.deepEqual(await line.hear(), { type: 'leave_room', room_id: 'room-1' });
  });

  test('passes errors on, but not those of messages that crossed', async () => {
    const line = await inRoom();
    line.say('error', { code: 'not_in_room', message: '' });
    line.say('error', { code: 'not_waiting', message: '' });
    line.say('error', { code: 'rate_limited', message: 'slow down' });
    assert.deepEqual(await event('refused'), { code: 'rate_limited', message: 'slow down' });
  });

  test('survives whatever is no message of the protocol', async () => {
    const line = await inRoom();
    for (const text of ['', 'null', '[]', '1', '{}', '{"type":1}', '{"type":"constructor"}', 'x']) {
      line.socket.send(text);
    }
    line.socket.send(Buffer.from('{"type":"peer_left","payload":{"room_id":"room-1"}}'));
    line.say('offer', null);
    assert.deepEqual(await event('relay'), { type: 'offer', payload: null });
    assert.equal(client.room.roomId, 'room-1');
  });

  test('waits a random part of a ceiling that doubles up to its most', async () => {
    client = dial({ random: () => 1 });
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

  test('takes a connection that went silent for dead, without ending its session', async () => {
    client = dial({ silenceMs: 30, pongMs: 30 });
    const line = await inRoom({ resume_token: 'token' });
    let closed = false;
    line.socket.on('close', () => (closed = true));
    assert.equal((await line.hear()).type, 'ping');
    const next = await accept();
    assert.equal(next.resume, 'token');
    assert.equal(closed, false, 'a Close frame would have ended the session');
    next.session({ resumed: true, resume_token: 'other', state: 'in_room', ...ROOM });
    await once(line.socket, 'close');
    assert.equal(client.room.roomId, 'room-1');
  });

  test('does not take up again what was closed in order', async () => {
    const line = await inRoom({ resume_token: 'token' });
    line.socket.close(4001);
    assert.equal((await accept()).resume, null);
  });

  test('closes for good when told to', async () => {
    const line = await inRoom();
    client.close();
    const [code] = await once(line.socket, 'close');
    assert.equal(code, 1000);
    assert.equal(client.status, 'closed');
  });
});
