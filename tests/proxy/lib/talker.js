/** A user of the server, in a few words: says messages, hears messages, in their order. */

import { createRequire } from 'node:module';

// One installation serves all tests in JavaScript.
const { WebSocket } = createRequire(new URL('../../browser/package.json', import.meta.url))('ws');

const PATIENCE_MS = 20_000;

/** The upgrade was answered, but not granted. */
export class Refused extends Error {
  constructor(response) {
    super(`the upgrade was answered with ${response.statusCode}`);
    this.status = response.statusCode;
    this.headers = response.headers;
  }
}

export class Talker {
  #inbox = [];
  #wake = () => {};
  #socket;
  /** The code of the close, once there is one. */
  closed = null;
  /** WebSocket pings of the server, which are answered by themselves. */
  pings = 0;

  constructor(socket) {
    this.#socket = socket;
    socket.on('message', (data) => this.#note(() => this.#inbox.push(JSON.parse(data))));
    socket.on('close', (code) => this.#note(() => (this.closed = code)));
    socket.on('ping', () => this.#note(() => (this.pings += 1)));
    // What went wrong is told by the close that follows.
    socket.on('error', () => {});
  }

  /** Connects, and takes the `session` message. Certificates of the tests are their own. */
  static async connect(url, options = {}) {
    const socket = new WebSocket(url, { rejectUnauthorized: false, perMessageDeflate: false, ...options });
    const talker = new Talker(socket);
    await new Promise((resolve, reject) => {
      socket.once('open', resolve);
      socket.once('error', reject);
      socket.once('unexpected-response', (_, response) => {
        reject(new Refused(response));
        socket.terminate();
      });
    });
    talker.session = await talker.hears('session');
    return talker;
  }

  #note(what) {
    what();
    this.#wake();
  }

  /** Waits until something is so. */
  async until(holds, what, patience = PATIENCE_MS) {
    const deadline = Date.now() + patience;
    while (!holds()) {
      const left = deadline - Date.now();
      if (left <= 0) throw new Error(`waited in vain for ${what}; closed: ${this.closed}`);
      await new Promise((resolve) => {
        const timer = setTimeout(resolve, left);
        this.#wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
  }

  /** The payload of the next message, which has to be of this type. */
  async hears(type) {
    await this.until(() => this.#inbox.length > 0 || this.closed !== null, type);
    const message = this.#inbox.shift();
    if (message?.type !== type) {
      throw new Error(`expected ${type}, heard ${JSON.stringify(message)}; closed: ${this.closed}`);
    }
    return message.payload;
  }

  /** Messages that were heard and not yet asked for. */
  get unheard() {
    return this.#inbox.length;
  }

  says(type, payload, room_id) {
    this.#socket.send(JSON.stringify({ type, room_id, payload }));
  }

  /** Sends text as it is, whatever it is. */
  saysRaw(text) {
    this.#socket.send(text);
  }

  async findsMatch(queue) {
    this.says('find_match', queue === undefined ? undefined : { queue });
    await this.hears('waiting');
    const { room_id, peer_id, initiator } = await this.hears('match_found');
    Object.assign(this, { room: room_id, peer: peer_id, initiator });
    return this;
  }

  async leaves() {
    this.says('leave_room', undefined, this.room);
    await this.hears('room_left');
  }

  async ends() {
    this.#socket.close();
    await this.until(() => this.closed !== null, 'the end');
  }
}

/** What browsers say to set up a call, both ways; each has to arrive as it was sent. */
export async function signal(one, other) {
  const [caller, called] = one.initiator ? [one, other] : [other, one];
  const sdp = (name) => ({ type: name, sdp: `v=0\r\ns=${name} of ${caller.session.session_id}\r\n`.padEnd(1_500, 'a') });
  const passes = async (from, to, type, payload) => {
    from.says(type, payload, from.room);
    const heard = await to.hears(type);
    if (JSON.stringify(heard) !== JSON.stringify(payload)) throw new Error(`${type} has changed on its way`);
  };
  await passes(caller, called, 'offer', sdp('offer'));
  await passes(called, caller, 'answer', sdp('answer'));
  for (let port = 50_000; port < 50_004; port += 1) {
    const candidate = { candidate: `candidate:1 1 udp 2122260223 192.0.2.1 ${port} typ host`, sdpMid: '0' };
    await passes(caller, called, 'ice_candidate', candidate);
    await passes(called, caller, 'ice_candidate', candidate);
  }
  await passes(called, caller, 'signal', { muted: false });
}
