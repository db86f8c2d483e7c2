/** A session with the real server, without a page. */

import { once } from 'node:events';
import { WebSocket } from 'ws';

export class Session {
  /** @type {import('ws').WebSocket} */
  #socket;
  /** Messages that were not asked for yet. */
  #messages = [];

  /** @param {import('./server.js').Server} server */
  static async open(server) {
    const session = new Session();
    session.#socket = new WebSocket(new URL('ws', server.url.replace('http', 'ws')));
    session.#socket.on('message', (data) => {
      session.#messages.push(JSON.parse(data));
      session.#socket.emit('received');
    });
    await session.receive('session');
    return session;
  }

  send(type, payload) {
    this.#socket.send(JSON.stringify({ type, payload }));
  }

  /** The payload of the next message of this type. Others before it are dropped. */
  async receive(type) {
    for (;;) {
      while (this.#messages.length > 0) {
        const message = this.#messages.shift();
        if (message.type === type) return message.payload;
      }
      await once(this.#socket, 'received');
    }
  }

  close() {
    this.#socket.close();
  }
}
