/** What the protocol client does with a request that gets no answer, or a late or another one. */

import assert from 'node:assert/strict';
import { afterEach, beforeEach, describe, mock, test } from 'node:test';
import { SwitchboardClient } from '../../src/page/web/client.js';

const ROOM = { room_id: 'room-1', peer_id: 'peer', initiator: true };
const ANSWER_MS = 5_000;

/** A WebSocket whose server is the test: it records what was sent, without a network. */
class ScriptedSocket extends EventTarget {
  /** @type {ScriptedSocket} The last one. */
  static last;
  sent = [];

  constructor() {
    super();
    ScriptedSocket.last = this;
  }

  send(text) {
    this.sent.push(JSON.parse(text));
  }

  receive(type, payload, more = {}) {
    const data = JSON.stringify({ type, payload, ...more });
    this.dispatchEvent(Object.assign(new Event('message'), { data }));
  }

  /** What was sent since the last call. */
  take() {
    return this.sent.splice(0);
  }

  close() {}
}

describe('a request of the protocol client', () => {
  const { timers } = mock;
  let client;
  let socket;
  let seen;

  beforeEach(() => {
    timers.enable({ apis: ['setTimeout', 'Date'] });
    client = new SwitchboardClient('ws://here/ws', { WebSocket: ScriptedSocket, answerMs: ANSWER_MS });
    seen = [];
    for (const type of ['match', 'room_lost', 'peer_left', 'relay', 'refused', 'waiting']) {
      client.addEventListener(type, () => seen.push(type));
    }
    client.connect();
    socket = ScriptedSocket.last;
    socket.receive('session', { session_id: 'me', ice_servers: [], resumed: false });
  });

  afterEach(() => {
    client.close();
    timers.reset();
  });

  /** The types of what was sent since the last call. */
  const types = () => socket.take().map(({ type }) => type);

  /** Answers the last ping that the client has sent. */
  function pong(sent) {
    const ping = sent.findLast(({ type }) => type === 'ping');
    socket.receive('pong', ping.payload);
  }

  test('is not repeated while its answer may be on its way', () => {
    client.findMatch();
    assert.deepEqual(types(), ['find_match']);
    for (let nth = 0; nth < 3; nth += 1) {
      timers.tick(ANSWER_MS);
      assert.deepEqual(types(), ['ping'], 'a second find_match would count as next');
    }
    socket.receive('waiting', { queue: 'default' });
    socket.receive('match_found', ROOM);
    socket.receive('pong', { probe: 1 });
    assert.deepEqual(types(), []);
    assert.equal(client.room.roomId, ROOM.room_id);
  });

  test('is repeated when a pong arrives without its answer', () => {
    client.findMatch('en');
    timers.tick(ANSWER_MS);
    const sent = socket.take();
    socket.receive('pong', {});
    socket.receive('pong', { sent_ms: 1 });
    assert.deepEqual(types(), [], 'a pong of an earlier ping says nothing');
    // An answer to an earlier request for another queue is none to this one.
    socket.receive('waiting', { queue: 'fr' });
    pong(sent);
    assert.deepEqual(socket.take(), [{ type: 'find_match', payload: { queue: 'en' } }]);
    pong(sent);
    assert.deepEqual(types(), [], 'once for each request');
    socket.receive('waiting', { queue: 'en' });
    timers.tick(ANSWER_MS);
    assert.deepEqual(types(), []);
  });

  test('is repeated on a network that is slower than the ping', () => {
    client.findMatch();
    timers.tick(ANSWER_MS);
    const first = socket.take();
    timers.tick(ANSWER_MS);
    assert.deepEqual(types(), ['ping']);
    pong(first);
    assert.deepEqual(types(), ['find_match']);
  });

  test('to cancel or to leave is repeated in the same way, until it is answered', () => {
    client.findMatch();
    socket.receive('waiting', { queue: 'default' });
    client.cancelMatch();
    timers.tick(ANSWER_MS);
    pong(socket.take());
    assert.deepEqual(types(), ['cancel_match']);
    socket.receive('error', { code: 'not_waiting', message: '' });
    socket.receive('match_found', ROOM);
    assert.deepEqual(types(), ['leave_room']);
    timers.tick(ANSWER_MS);
    pong(socket.take());
    assert.deepEqual(types(), ['leave_room']);
    socket.receive('error', { code: 'not_in_room', message: '' });
    timers.tick(ANSWER_MS);
    assert.deepEqual(types(), []);
    assert.equal(client.room, null);
  });

  test('that was refused for a time waits for that time, whatever a pong says', () => {
    client.findMatch();
    timers.tick(ANSWER_MS);
    const sent = socket.take();
    socket.receive('error', { code: 'rate_limited', message: '', refused: 'find_match', retry_after_ms: 900 });
    pong(sent);
    assert.deepEqual(types(), []);
    timers.tick(900);
    assert.deepEqual(types(), ['find_match']);
  });

  test('is not sent where the session already waits', () => {
    client.findMatch();
    socket.receive('waiting', { queue: 'default' });
    socket.take();
    client.findMatch('default');
    assert.deepEqual(types(), []);
    client.findMatch('en');
    assert.deepEqual(types(), ['find_match']);
    assert.equal(client.queue, 'default', 'until the server has said so');
    socket.receive('waiting', { queue: 'en' });
    assert.equal(client.queue, 'en');
    client.cancelMatch();
    client.findMatch('en');
    assert.deepEqual(types(), ['cancel_match', 'find_match']);
  });

  test('that made the server leave a room ends that room here too', () => {
    client.findMatch();
    socket.receive('waiting', { queue: 'default' });
    socket.receive('match_found', ROOM);
    socket.take();
    socket.receive('waiting', { queue: 'default' });
    assert.equal(client.room, null);
    assert.deepEqual(seen, ['waiting', 'match', 'room_lost', 'waiting']);
    assert.deepEqual(types(), ['cancel_match'], 'the listener did not ask for another partner');
  });

  test('keeps its place when the listener goes on after such an end', () => {
    client.addEventListener('room_lost', () => client.findMatch());
    client.findMatch();
    socket.receive('waiting', { queue: 'default' });
    socket.receive('match_found', ROOM);
    socket.take();
    socket.receive('waiting', { queue: 'default' });
    assert.deepEqual(types(), []);
    socket.receive('match_found', { ...ROOM, room_id: 'room-2' });
    assert.equal(client.room.roomId, 'room-2');
  });

  test('that is refused leaves the session in its old queue, which can be cancelled', () => {
    client.findMatch('en');
    socket.receive('waiting', { queue: 'en' });
    client.findMatch('bad');
    socket.take();
    socket.receive('error', { code: 'bad_queue', message: '', refused: 'find_match' });
    assert.equal(client.queue, 'en');
    client.cancelMatch();
    assert.deepEqual(types(), ['cancel_match']);
  });

  test('that is refused does not refuse a partner of the old queue', () => {
    client.findMatch();
    socket.receive('waiting', { queue: 'default' });
    client.findMatch('bad');
    socket.take();
    socket.receive('error', { code: 'bad_queue', message: '', refused: 'find_match' });
    socket.receive('match_found', ROOM);
    assert.deepEqual(types(), []);
    assert.equal(client.room.roomId, ROOM.room_id);
  });

  test('a message to the partner is sent only in the room that it is meant for', () => {
    client.findMatch();
    socket.receive('match_found', ROOM);
    socket.take();
    assert.equal(client.signal('offer', {}, 'room-0'), false);
    assert.equal(client.signal('offer', {}, ROOM.room_id), true);
    assert.deepEqual(socket.take(), [{ type: 'offer', room_id: ROOM.room_id, payload: {} }]);
  });

  test('a message from the partner with the room_id null is delivered, as without one', () => {
    client.findMatch();
    socket.receive('match_found', ROOM);
    for (const room_id of [null, undefined, ROOM.room_id, 'room-0']) socket.receive('offer', {}, { room_id });
    assert.deepEqual(seen, ['match', 'relay', 'relay', 'relay']);
  });
});
