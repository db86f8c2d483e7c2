/**
 * A server that says what a test wants: it stands in for the real one in a page of Chromium, for
 * states that are hard to reach with the real server (each error, each close code, each end of a call).
 */

const SESSION = { session_id: 's'.repeat(22), ice_servers: [], resumed: false };
export const ROOM = 'r'.repeat(22);

export class ScriptedServer {
  /** @type {import('playwright-core').WebSocketRoute | null} */
  #socket = null;
  /** What the page is told instead of `waiting`; null to say nothing. */
  answer = { type: 'waiting', payload: { queue: 'default' } };

  /** Answers the WebSocket connections of this page from now on. @param {import('playwright-core').Page} page */
  static async of(page) {
    const server = new ScriptedServer();
    await page.routeWebSocket(/\/ws$/, (socket) => server.#accept(socket));
    return server;
  }

  #accept(socket) {
    this.#socket = socket;
    socket.onMessage((text) => {
      const { type, payload } = JSON.parse(text);
      if (type === 'find_match' && this.answer !== null) this.send(this.answer.type, this.answer.payload);
      if (type === 'ping') this.send('pong', payload);
      if (type === 'cancel_match') this.send('match_cancelled');
      if (type === 'leave_room') this.send('room_left', { room_id: ROOM });
    });
    this.send('session', SESSION);
  }

  send(type, payload) {
    this.#socket.send(JSON.stringify({ type, payload }));
  }

  match() {
    this.send('match_found', { room_id: ROOM, peer_id: 'p'.repeat(22), initiator: true });
  }

  /** Closes the connection; the page will open another. */
  close(code) {
    return this.#socket.close({ code });
  }
}
