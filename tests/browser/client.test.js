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
    connection.send('error', { code: 'rate_limited', message: 'slow down', refused: 'signal' });
    const refused = { code: 'rate_limited', message: 'slow down', refused: 'signal' };
    assert.deepEqual(await event('refused'), refused);
  });

  /** Brings the client to a session and lets it search; returns the server's end. */
  async function searching(queue) {
    client.connect();
    const connection = await accept();
    connection.session();
    await event('session');
    client.findMatch(queue);
    assert.equal((await connection.receive()).type, 'find_match');
    return connection;
  }

  /** Records `confirmed` and the codes of `refused`, in order. */
  function record() {
    const seen = [];
    client.addEventListener('confirmed', ({ detail }) => seen.push(detail.confirmed));
    client.addEventListener('refused', ({ detail }) => seen.push(`${detail.code} ${detail.refused}`));
    return seen;
  }

  test('reports each state that the server confirms, and unknown without a connection', async () => {
    const seen = record();
    const connection = await searching('en');
    assert.equal(client.confirmed, 'idle', 'a request is no confirmation');
    connection.send('waiting', { queue: 'en' });
    connection.send('match_found', ROOM);
    await event('match');
    client.leaveRoom();
    await connection.receive();
    assert.equal(client.confirmed, 'in_room');
    connection.send('room_left', { room_id: ROOM.room_id });
    await event('confirmed');
    connection.socket.terminate();
    await event('status');
    assert.deepEqual(seen, ['idle', 'waiting', 'in_room', 'idle', 'unknown']);
  });

  test('gives up a request that is refused for good, and reports it once', async () => {
    const seen = record();
    const connection = await searching('my room');
    connection.send('error', { code: 'bad_queue', message: 'no' });
    await event('refused');
    connection.socket.terminate();
    const next = await accept();
    next.session();
    await next.receivesNothing(client);
    assert.deepEqual(seen, ['idle', 'bad_queue find_match', 'unknown', 'idle']);
  });

  test('repeats a request over the rate when the server says, and reports when', async () => {
    const connection = await searching('en');
    const before = Date.now();
    connection.send('error', { code: 'too_many_matches', message: '', refused: 'find_match', retry_after_ms: 40 });
    const { code, refused, retryAt } = await event('refused');
    assert.deepEqual([code, refused], ['too_many_matches', 'find_match']);
    assert.ok(retryAt >= before + 40 && retryAt < before + 5_000, `${retryAt - before}`);
    assert.deepEqual(await connection.receive(), { type: 'find_match', payload: { queue: 'en' } });
    assert.ok(Date.now() >= before + 35);
  });

  test('repeats a request that was dropped by a server that does not name it', async () => {
    const connection = await searching('en');
    connection.send('error', { code: 'rate_limited', message: '' });
    assert.equal((await event('refused')).refused, 'find_match');
    assert.deepEqual(await connection.receive(), { type: 'find_match', payload: { queue: 'en' } });
    connection.send('waiting', { queue: 'en' });
    await event('waiting');
    connection.send('error', { code: 'rate_limited', message: '' });
    const later = await event('refused');
    assert.deepEqual([later.refused, later.retryAt], [undefined, undefined]);
  });

  test('leaves the room when the request for the next partner is refused', async () => {
    const connection = await inRoom();
    client.findMatch();
    await connection.receive();
    connection.send('error', { code: 'too_many_matches', message: '', refused: 'find_match', retry_after_ms: 20 });
    assert.equal((await connection.receive()).type, 'leave_room');
    assert.equal((await connection.receive()).type, 'find_match');
  });

  test('keeps the goal while a server shuts down', async () => {
    const connection = await searching('en');
    connection.send('error', { code: 'draining', message: '', refused: 'find_match' });
    await event('refused');
    connection.socket.terminate();
    const next = await accept();
    next.session();
    assert.deepEqual(await next.receive(), { type: 'find_match', payload: { queue: 'en' } });
  });

  test('uses the ICE servers of the match, else those of the session', async () => {
    const [day, hour] = [[{ urls: ['turn:a'], username: 'day' }], [{ urls: ['turn:a'], username: 'hour' }]];
    const connection = await inRoom({ ice_servers: day, relay_only: true });
    assert.deepEqual([client.iceServers, client.relayOnly], [day, true]);
    client.findMatch();
    connection.send('match_found', { ...ROOM, room_id: 'room-2', ice_servers: hour });
    await event('match');
    assert.deepEqual(client.iceServers, hour);
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

  test('reconnects at once, then with full-jitter backoff up to the maximum', async () => {
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
    for (const [nth, most] of [0, 5, 10, 20, 40, 40].entries()) {
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

  test('says whether a lost connection had been opened', async () => {
    const lost = [];
    client.addEventListener('status', ({ detail }) => {
      if (detail.status === 'retrying') lost.push(detail.opened);
    });
    server.shouldHandle = () => false;
    client.connect();
    await event('status');
    while (lost.length < 2) await event('status');
    delete server.shouldHandle;
    const connection = await accept();
    connection.session();
    await event('session');
    const before = lost.length;
    connection.socket.terminate();
    while (lost.length === before) await event('status');
    assert.deepEqual([lost[0], lost[1], lost.at(-1)], [false, false, true]);
  });

  test('gives an attempt that makes no progress more time after each failure', async () => {
    const delays = [];
    class Slow extends EventTarget {
      constructor() {
        super();
        this.since = performance.now();
      }
      close() {
        delays.push(performance.now() - this.since);
      }
    }
    client = newClient({ WebSocket: Slow, backoffFirstMs: 1, backoffMostMs: 1, openFirstMs: 20, openMostMs: 80 });
    client.connect();
    while (delays.length < 4) await event('status');
    for (const [nth, least] of [20, 40, 80, 80].entries()) assert.ok(delays[nth] >= least - 2, `${delays}`);
  });

  test('does not abandon an attempt that makes progress', async () => {
    let open = 0;
    class Stepwise extends EventTarget {
      constructor() {
        super();
        open += 1;
        // Each step takes less than the patience, all of them more.
        setTimeout(() => this.dispatchEvent(new Event('open')), 60);
        setTimeout(() => {
          const data = JSON.stringify({ type: 'session', payload: { session_id: 'me', resumed: false } });
          this.dispatchEvent(Object.assign(new Event('message'), { data }));
        }, 120);
      }
      close() {}
    }
    client = newClient({ WebSocket: Stepwise, openFirstMs: 90, openMostMs: 90 });
    client.connect();
    await event('session');
    assert.equal(open, 1);
  });

  test('delays the first attempt too after a restart of the server', async () => {
    client = newClient({ random: () => 1 });
    const connection = await inRoom();
    connection.socket.close(1012);
    const { retryAt } = await event('status');
    assert.ok(retryAt > Date.now() + 20, 'backoffMostMs is 40');
  });

  test('waits as long as its user knows that the server refuses it', async () => {
    client = newClient({ random: () => 0 });
    const connection = await inRoom();
    const before = Date.now();
    client.addEventListener('status', () => client.retryAfter(60), { once: true });
    connection.socket.terminate();
    await accept();
    assert.ok(Date.now() >= before + 55, `${Date.now() - before} ms`);
  });

  for (const [type, target] of [['visibilitychange', 'document'], ['pageshow', 'window'], ['online', 'window']]) {
    test(`sends a ping on ${type}`, async (t) => {
      const events = { document: new EventTarget(), window: new EventTarget() };
      globalThis.document = events.document;
      globalThis.addEventListener = events.window.addEventListener.bind(events.window);
      t.after(() => {
        delete globalThis.document;
        delete globalThis.addEventListener;
      });
      client = newClient();
      const connection = await inRoom();
      events[target].dispatchEvent(new Event(type));
      assert.deepEqual(await connection.receive(), { type: 'ping' });
      connection.socket.terminate();
      await event('status');
      events[target].dispatchEvent(new Event(type));
      await accept();
    });
  }

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
