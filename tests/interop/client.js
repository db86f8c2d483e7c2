// One user of Switchboard, framed by Node's `ws`.
//
// usage: client.js ADDRESS pair QUEUE     two clients meet and exchange the signalling of a call
//        client.js ADDRESS many QUEUE N  N users at once, who meet in pairs
//
// The steps and checks are those of client.py beside this file, so that either can meet
// the other. The last line on standard output is the result; a failure exits with 1.

import assert from 'node:assert/strict';
import { createRequire } from 'node:module';

// `ws` is installed wherever the script that runs this put it.
const require = createRequire(`${process.env.INTEROP_MODULES}/`);
const WebSocket = require('ws');

const TIMEOUT_MS = 20_000;
const CANDIDATES = 5;
// Characters that a client or a server could change by mistake.
const SDP =
  'v=0\r\no=- 4611731400430051336 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=note:ä€😀 \\ "/\r\n';

const candidate = (who, nth) => ({
  candidate: `candidate:${nth} 1 udp 2122260223 192.0.2.${nth} 50000 typ host ufrag ${who}`,
  sdpMid: '0',
  sdpMLineIndex: 0,
});

// A session.
class User {
  #socket;
  #received = [];
  #listener = null;

  static async enter(address) {
    const user = new User();
    user.#socket = new WebSocket(`ws://${address}/ws`);
    user.#socket.on('message', (data, isBinary) => {
      assert.equal(isBinary, false, 'the server sends text');
      user.#received.push(data.toString());
      user.#listener?.();
    });
    user.#socket.on('error', (error) => {
      throw error;
    });
    user.id = (await user.expect('session')).session_id;
    return user;
  }

  say(type, payload, room) {
    this.#socket.send(JSON.stringify({ type, room_id: room, payload }));
  }

  async expect(type) {
    if (this.#received.length === 0) {
      await new Promise((resolve, reject) => {
        const timer = setTimeout(() => reject(new Error(`no ${type} came`)), TIMEOUT_MS);
        this.#listener = () => {
          clearTimeout(timer);
          this.#listener = null;
          resolve();
        };
      });
    }
    const text = this.#received.shift();
    const message = JSON.parse(text);
    assert.equal(message.type, type, text);
    return message.payload;
  }

  async meet(queue) {
    this.say('find_match', { queue });
    assert.deepEqual(await this.expect('waiting'), { queue });
    return this.expect('match_found');
  }

  async protocolPing() {
    const pong = new Promise((resolve) => this.#socket.once('pong', resolve));
    this.#socket.ping("a protocol-level ping");
    assert.equal((await pong).toString(), "a protocol-level ping");
  }

  async leave() {
    const closed = new Promise((resolve) => this.#socket.once('close', resolve));
    this.#socket.close(1000);
    assert.equal(await closed, 1000);
  }
}

// Offer, answer and candidates, as WebRTC needs them; checks every byte of them.
async function call(user, { room_id: room, peer_id: other, initiator }) {
  if (initiator) {
    user.say('offer', { type: 'offer', sdp: SDP, from: user.id }, room);
    assert.deepEqual(await user.expect('answer'), { type: 'answer', sdp: SDP, from: other });
  } else {
    assert.deepEqual(await user.expect('offer'), { type: 'offer', sdp: SDP, from: other });
    user.say('answer', { type: 'answer', sdp: SDP, from: user.id }, room);
  }
  for (let nth = 0; nth < CANDIDATES; nth += 1) {
    user.say('ice_candidate', candidate(user.id, nth), room);
  }
  for (let nth = 0; nth < CANDIDATES; nth += 1) {
    assert.deepEqual(await user.expect('ice_candidate'), candidate(other, nth));
  }
}

async function pair(address, queue) {
  const user = await User.enter(address);
  user.say('ping', { n: 1 });
  assert.deepEqual(await user.expect('pong'), { n: 1 });
  await user.protocolPing();
  const found = await user.meet(queue);
  await call(user, found);
  // The answerer leaves and the initiator gets peer_left, so both know that the other is done.
  const room = found.room_id;
  if (found.initiator) {
    assert.deepEqual(await user.expect('peer_left'), { room_id: room, reason: 'left' });
  } else {
    user.say('leave_room', undefined, room);
    assert.deepEqual(await user.expect('room_left'), { room_id: room });
  }
  await user.leave();
  const role = found.initiator ? 'initiator' : 'answerer';
  return `node met ${found.peer_id} as ${role} ${user.id}`;
}

async function many(address, queue, count) {
  const users = await Promise.all(Array.from({ length: count }, () => User.enter(address)));
  const found = await Promise.all(users.map((user) => user.meet(queue)));
  const rooms = new Map();
  found.forEach((match, nth) => {
    const members = rooms.get(match.room_id) ?? [];
    rooms.set(match.room_id, [...members, { ...match, id: users[nth].id }]);
  });
  assert.equal(rooms.size, count / 2);
  for (const [one, other, ...more] of rooms.values()) {
    assert.equal(more.length, 0);
    assert.equal(one.peer_id, other.id);
    assert.equal(other.peer_id, one.id);
    assert.notEqual(one.initiator, other.initiator);
  }
  await Promise.all(users.map((user, nth) => call(user, found[nth])));
  await Promise.all(users.map((user) => user.leave()));
  return `node: ${rooms.size} rooms of ${count} users, ws ${require('ws/package.json').version}`;
}

const [address, what, queue, count] = process.argv.slice(2);
console.log(
  await (what === 'pair' ? pair(address, queue) : many(address, queue, Number(count))),
);
