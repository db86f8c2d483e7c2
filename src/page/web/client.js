/**
 * The protocol client: signalling with a Switchboard server (src/wire/PROTOCOL.md).
 *
 * It depends on neither WebRTC nor the page, so it can be used on its own:
 *
 *     const client = new SwitchboardClient('wss://talk.example/ws');
 *     client.addEventListener('match', ({ detail }) => detail.initiator && client.signal('offer', sdp));
 *     client.addEventListener('relay', ({ detail }) => handle(detail.type, detail.payload));
 *     client.connect();
 *     client.findMatch('en');
 *
 * Beyond sending and parsing it does the following:
 * - It reconnects with full-jitter backoff, immediately when the browser comes online, and
 *   resumes the session where the server supports it.
 * - It stores the goal of its user (no partner, a match, the present room) and requests it again
 *   after every reconnect, so a match request survives a lost connection.
 * - Every relayed message carries `room_id`. Messages of an earlier room are never delivered.
 * - It detects dead connections: after a silence it sends a ping, and without a pong it opens a
 *   new socket.
 *
 * @typedef {'closed' | 'connecting' | 'open' | 'retrying'} Status
 * @typedef {{ roomId: string, peerId: string, initiator: boolean }} Room
 * @typedef {'offer' | 'answer' | 'ice_candidate' | 'signal'} RelayType
 *
 * Events, and what their `detail` holds:
 * - `status`    `{ status, retryAt?, code? }`: `retryAt` in milliseconds since 1970.
 * - `session`   `{ sessionId, iceServers, resumed }`: first on every connection.
 * - `waiting`   `{ queue, expected_wait_ms? }`
 * - `match`     a {@link Room}
 * - `relay`     `{ type, payload }` from the partner: untrusted input, to be validated.
 * - `peer_left` `{ roomId, reason }`: `left`, `next`, `disconnected` or `timeout`.
 * - `peer_away`, `peer_back` `{ roomId }`
 * - `room_lost` `{ roomId }`: the room ended while this client was disconnected, or the server restarted.
 * - `refused`   `{ code, message }`: the server's `error`.
 * - `draining`  `{ deadlineMs }`: the server is shutting down.
 */

const RELAYED = new Set(['offer', 'answer', 'ice_candidate', 'signal']);

/** Errors that are expected when a message of the client and one of the server cross. */
const CROSSING_ERRORS = new Set(['not_in_room', 'not_waiting']);

/**
 * What the user of the client wants.
 * @typedef {{ name: 'idle' } | { name: 'match', queue?: string } | { name: 'room' }} Goal
 */

export class SwitchboardClient extends EventTarget {
  /** @type {Room | null} The present room. */
  room = null;
  /** @type {RTCIceServer[]} From the last `session` message. */
  iceServers = [];
  /** Whether the server has announced that it is shutting down. */
  draining = false;

  #url;
  #options;
  /** @type {Status} */
  #status = 'closed';
  /** @type {WebSocket | null} */
  #socket = null;
  /** @type {WebSocket | null} Presumed dead; kept open until its session is resumed or ended. */
  #abandoned = null;
  /** @type {string | null} */
  #resumeToken = null;
  /** @type {Goal} */
  #goal = { name: 'idle' };
  #failures = 0;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #retryTimer;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #silenceTimer;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #steadyTimer;

  /**
   * @param {string | URL} url URL of the WebSocket endpoint.
   * @param {object} [options]
   * @param {typeof WebSocket} [options.WebSocket] for runtimes without a global one.
   * @param {() => number} [options.random] in [0, 1).
   * @param {number} [options.backoffFirstMs] upper bound of the delay before the first reconnect.
   * @param {number} [options.backoffMostMs] upper bound of the delay before any reconnect.
   * @param {number} [options.silenceMs] silence after which a ping is sent.
   * @param {number} [options.pongMs] silence after that ping after which the connection counts as dead.
   */
  constructor(url, options = {}) {
    super();
    this.#url = url;
    this.#options = {
      WebSocket: globalThis.WebSocket,
      random: Math.random,
      backoffFirstMs: 500,
      backoffMostMs: 15_000,
      silenceMs: 20_000,
      pongMs: 8_000,
      ...options,
    };
    globalThis.addEventListener?.('online', () => this.#cameOnline());
  }

  /** @returns {Status} */
  get status() {
    return this.#status;
  }

  /** Connects, and stays connected until {@link close}. */
  connect() {
    if (this.#status === 'closed' || this.#status === 'retrying') this.#open();
  }

  /** Ends the session immediately. The partner, if there is one, gets `peer_left`. */
  close() {
    this.#goal = { name: 'idle' };
    this.room = null;
    this.#resumeToken = null;
    const socket = this.#detach();
    socket?.close(1000);
    this.#setStatus('closed');
  }

  /**
   * Requests a partner; in a room, the next one. Repeated after each reconnect until `match`.
   * @param {string} [queue] 1 to 64 of `A–Z a–z 0–9 _ . : -`; absent, the default queue.
   */
  findMatch(queue) {
    this.room = null;
    this.#goal = { name: 'match', queue };
    this.#send('find_match', queue === undefined ? undefined : { queue });
  }

  /** Cancels {@link findMatch}. */
  cancelMatch() {
    if (this.#goal.name !== 'match') return;
    this.#goal = { name: 'idle' };
    this.#send('cancel_match');
  }

  /** Leaves the room, if there is one. */
  leaveRoom() {
    if (this.room === null) return;
    const { roomId } = this.room;
    this.room = null;
    this.#goal = { name: 'idle' };
    this.#send('leave_room', undefined, roomId);
  }

  /**
   * Sends a message to the partner.
   * @param {RelayType} type
   * @param {unknown} payload
   * @returns {boolean} whether it was sent: false without a room or a connection.
   */
  signal(type, payload) {
    return this.room !== null && this.#send(type, payload, this.room.roomId);
  }

  #open() {
    clearTimeout(this.#retryTimer);
    const url = new URL(this.#url);
    if (this.#resumeToken !== null) url.searchParams.set('resume', this.#resumeToken);
    const socket = new this.#options.WebSocket(url);
    this.#socket = socket;
    this.#setStatus('connecting');
    socket.addEventListener('message', ({ data }) => {
      if (this.#socket === socket) this.#receive(data);
    });
    socket.addEventListener('close', ({ code }) => {
      if (this.#socket === socket) this.#connectionLost(code);
    });
    // `close` follows and has the details. Outside a browser, an `error` event without a listener
    // may end the program.
    socket.addEventListener('error', () => {});
    // Otherwise an attempt whose packets are dropped would hang for minutes.
    this.#watchSilence(this.#options.pongMs, () => this.#abandon());
  }

  /** Detaches the present socket and returns it. */
  #detach() {
    const socket = this.#socket;
    this.#socket = null;
    clearTimeout(this.#retryTimer);
    clearTimeout(this.#silenceTimer);
    clearTimeout(this.#steadyTimer);
    return socket;
  }

  /**
   * The connection was lost; schedules a reconnect.
   * @param {number} code of the Close frame, or 1006.
   */
  #connectionLost(code) {
    this.#detach();
    // After a Close frame the session cannot be resumed (4001: another connection resumed it).
    if (code !== 1006) this.#resumeToken = null;
    const { backoffFirstMs, backoffMostMs, random } = this.#options;
    const ceilingMs = Math.min(backoffMostMs, backoffFirstMs * 2 ** this.#failures);
    this.#failures += 1;
    // Full jitter: clients of a restarted server must not all reconnect at the same time.
    const delayMs = random() * ceilingMs;
    this.#retryTimer = setTimeout(() => this.#open(), delayMs);
    this.#setStatus('retrying', { retryAt: Date.now() + delayMs, code });
  }

  /**
   * Abandons a silent socket without a Close frame, which would end the session that is to be
   * resumed.
   */
  #abandon() {
    const socket = this.#detach();
    this.#abandoned?.close();
    this.#abandoned = socket;
    this.#connectionLost(1006);
  }

  #cameOnline() {
    if (this.#status === 'retrying') {
      this.#failures = 0;
      this.#open();
    } else if (this.#status === 'open') {
      this.#probe();
    }
  }

  /**
   * Calls `then` when nothing has arrived for `afterMs`.
   * @param {number} afterMs
   * @param {() => void} then
   */
  #watchSilence(afterMs, then) {
    clearTimeout(this.#silenceTimer);
    this.#silenceTimer = setTimeout(then, afterMs);
  }

  #probe() {
    this.#send('ping');
    this.#watchSilence(this.#options.pongMs, () => this.#abandon());
  }

  /**
   * @param {string} type
   * @param {unknown} [payload]
   * @param {string} [roomId]
   */
  #send(type, payload, roomId) {
    if (this.#status !== 'open') return false;
    this.#socket?.send(JSON.stringify({ type, room_id: roomId, payload }));
    return true;
  }

  /** @param {string} data */
  #receive(data) {
    this.#watchSilence(this.#options.silenceMs, () => this.#probe());
    const message = parse(data);
    if (message === null) return;
    const { type, payload } = message;
    if (RELAYED.has(type)) this.#relayed(message);
    else if (type === 'session') this.#sessionStarted(payload);
    else if (type === 'waiting') this.#emit('waiting', payload);
    else if (type === 'match_found') this.#matched(roomOf(payload));
    else if (type === 'peer_left') this.#peerLeft(payload.room_id, payload.reason);
    else if (type === 'peer_away' || type === 'peer_back') this.#peerConnectionChanged(type, payload.room_id);
    else if (type === 'error') this.#refused(payload);
    else if (type === 'draining') {
      this.draining = true;
      this.#emit('draining', { deadlineMs: payload.deadline_ms });
    }
    // `match_cancelled`, `room_left` and `pong` confirm a state that the client already has.
    // Unknown types are ignored: a later protocol version may add some.
  }

  /** @param {Record<string, any>} session */
  #sessionStarted(session) {
    this.draining = false;
    this.#resumeToken = session.resume_token ?? null;
    this.iceServers = session.ice_servers ?? [];
    this.#abandoned?.close();
    this.#abandoned = null;
    // The backoff is reset only after the connection has lasted: a server that accepts and then
    // drops connections must not be retried without delay.
    this.#steadyTimer = setTimeout(() => (this.#failures = 0), 5_000);
    const resumed = session.resumed === true;
    this.#setStatus('open');
    this.#emit('session', {
      sessionId: session.session_id,
      iceServers: this.iceServers,
      resumed,
    });
    this.#reconcile(resumed ? session.state : 'idle', session, resumed);
  }

  /**
   * Reconciles the state of the session on the server with the goal of the user. Messages that
   * were sent shortly before the connection was lost may not have arrived.
   * @param {'idle' | 'waiting' | 'in_room'} state
   * @param {Record<string, any>} session
   * @param {boolean} resumed
   */
  #reconcile(state, session, resumed) {
    const serverRoom = state === 'in_room' ? roomOf(session) : null;
    const { room } = this;
    if (room !== null && room.roomId !== serverRoom?.roomId) {
      this.room = null;
      this.#goal = { name: 'idle' };
      const { roomId } = room;
      if (resumed) this.#emit('peer_left', { roomId, reason: 'disconnected' });
      else this.#emit('room_lost', { roomId });
    }
    if (serverRoom !== null) this.#matched(serverRoom);
    else if (this.#goal.name === 'match' && state === 'idle') this.findMatch(this.#goal.queue);
    else if (this.#goal.name === 'idle' && state === 'waiting') this.#send('cancel_match');
  }

  /** @param {Room} room */
  #matched(room) {
    // Already known: the session was resumed, and `match_found` was among the kept messages.
    if (room.roomId === this.room?.roomId) return;
    if (this.#goal.name === 'idle') {
      // `match_found` crossed a `cancel_match` or a `leave_room` that was lost.
      this.#send('leave_room', undefined, room.roomId);
      return;
    }
    this.room = room;
    this.#goal = { name: 'room' };
    this.#emit('match', room);
  }

  /** @param {Record<string, any>} message */
  #relayed({ type, payload, room_id }) {
    if (this.room === null) return;
    if (room_id !== undefined && room_id !== this.room.roomId) return;
    this.#emit('relay', { type, payload });
  }

  /**
   * @param {string} roomId
   * @param {string} reason
   */
  #peerLeft(roomId, reason) {
    if (roomId !== this.room?.roomId) return;
    this.room = null;
    this.#goal = { name: 'idle' };
    this.#emit('peer_left', { roomId, reason });
  }

  /**
   * @param {'peer_away' | 'peer_back'} type
   * @param {string} roomId
   */
  #peerConnectionChanged(type, roomId) {
    if (roomId === this.room?.roomId) this.#emit(type, { roomId });
  }

  /** @param {Record<string, any>} error */
  #refused({ code, message }) {
    if (!CROSSING_ERRORS.has(code)) this.#emit('refused', { code, message });
  }

  /**
   * @param {Status} status
   * @param {object} [more]
   */
  #setStatus(status, more = {}) {
    this.#status = status;
    this.#emit('status', { status, ...more });
  }

  /**
   * @param {string} type
   * @param {unknown} detail
   */
  #emit(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}

/**
 * @param {unknown} data
 * @returns {Record<string, any> | null} an object with a string `type`; its payload is an object
 *   unless the message is relayed.
 */
function parse(data) {
  if (typeof data !== 'string') return null;
  try {
    const message = JSON.parse(data);
    if (typeof message?.type !== 'string') return null;
    if (!RELAYED.has(message.type)) message.payload ??= {};
    return message;
  } catch {
    return null;
  }
}

/**
 * @param {Record<string, any>} payload
 * @returns {Room}
 */
function roomOf(payload) {
  return {
    roomId: payload.room_id,
    peerId: payload.peer_id,
    initiator: payload.initiator === true,
  };
}
