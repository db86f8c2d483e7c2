/** A WebSocket client: sends messages, and expects received messages in order. */

import { createRequire } from 'node:module';

// One installation serves all tests in JavaScript.
const { WebSocket } = createRequire(new URL('../../browser/package.json', import.meta.url))('ws');

const TIMEOUT_MS = 20_000;

/** The server refused the upgrade with an HTTP response. */
export class UpgradeRefused extends Error {
  constructor(response) {
    super(`the upgrade was answered with ${response.statusCode}`);
    this.status = response.statusCode;
    this.headers = response.headers;
  }
}

export class TestClient {
  #inbox = [];
  #wake = () => {};
  #socket;
  /** The close code, once the connection has closed. */
  closed = null;
  /** Number of received WebSocket pings. The library answers them. */
  pings = 0;

  constructor(socket) {
    this.#socket = socket;
    socket.on('message', (data) => this.#note(() => this.#inbox.push(JSON.parse(data))));
    socket.on('close', (code) => this.#note(() => (this.closed = code)));
    socket.on('ping', () => this.#note(() => (this.pings += 1)));
    // The close event follows.
    socket.on('error', () => {});
  }

  /** Connects and waits for `session`. Accepts any certificate. */
  static async connect(url, options = {}) {
    const socket = new WebSocket(url, { rejectUnauthorized: false, perMessageDeflate: false, ...options });
    const client = new TestClient(socket);
    await new Promise((resolve, reject) => {
      socket.once('open', resolve);
      socket.once('error', reject);
      socket.once('unexpected-response', (_, response) => {
        reject(new UpgradeRefused(response));
        socket.terminate();
      });
    });
    client.session = await client.expects('session');
    return client;
  }

  #note(what) {
    what();
    this.#wake();
  }

  /** Waits until a condition holds. */
  async until(holds, what, timeoutMs = TIMEOUT_MS) {
    const deadline = Date.now() + timeoutMs;
    while (!holds()) {
      const left = deadline - Date.now();
      if (left <= 0) throw new Error(`timed out waiting for ${what}; closed: ${this.closed}`);
      await new Promise((resolve) => {
        const timer = setTimeout(resolve, left);
        this.#wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
  }

  /** Returns the payload of the next message, which must be of this type. */
  async expects(type) {
    await this.until(() => this.#inbox.length > 0 || this.closed !== null, type);
    const message = this.#inbox.shift();
    if (message?.type !== type) {
      throw new Error(`expected ${type}, received ${JSON.stringify(message)}; closed: ${this.closed}`);
    }
    return message.payload;
  }

  /** Number of received messages that no test has expected yet. */
  get unexpected() {
    return this.#inbox.length;
  }

  send(type, payload, room_id) {
    this.#socket.send(JSON.stringify({ type, room_id, payload }));
  }

  /** Sends text unchanged. */
  sendRaw(text) {
    this.#socket.send(text);
  }

  async findMatch(queue) {
    this.send('find_match', queue === undefined ? undefined : { queue });
    await this.expects('waiting');
    const { room_id, peer_id, initiator } = await this.expects('match_found');
    Object.assign(this, { room: room_id, peer: peer_id, initiator });
    return this;
  }

  async leaveRoom() {
    this.send('leave_room', undefined, this.room);
    await this.expects('room_left');
  }

  async close() {
    this.#socket.close();
    await this.until(() => this.closed !== null, 'the end');
  }
}

/** Exchanges the signalling of a call both ways; each payload must arrive unchanged. */
export async function signal(one, other) {
  const [caller, called] = one.initiator ? [one, other] : [other, one];
  const sdp = (name) => ({ type: name, sdp: `v=0\r\ns=${name} of ${caller.session.session_id}\r\n`.padEnd(1_500, 'a') });
  const relay = async (from, to, type, payload) => {
    from.send(type, payload, from.room);
    const received = await to.expects(type);
    if (JSON.stringify(received) !== JSON.stringify(payload)) throw new Error(`${type} was changed in transit`);
  };
  await relay(caller, called, 'offer', sdp('offer'));
  await relay(called, caller, 'answer', sdp('answer'));
  for (let port = 50_000; port < 50_004; port += 1) {
    const candidate = { candidate: `candidate:1 1 udp 2122260223 192.0.2.1 ${port} typ host`, sdpMid: '0' };
    await relay(caller, called, 'ice_candidate', candidate);
    await relay(called, caller, 'ice_candidate', candidate);
  }
  await relay(called, caller, 'signal', { muted: false });
}
