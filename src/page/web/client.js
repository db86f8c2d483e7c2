/**
 * The protocol client: signalling with a Switchboard server, version 1 of its protocol.
 *
 * It knows nothing of WebRTC and nothing of the page, so it can be used by itself:
 *
 *     const line = new SwitchboardClient('wss://talk.example/ws');
 *     line.addEventListener('match', ({ detail }) => detail.initiator && line.signal('offer', sdp));
 *     line.addEventListener('relay', ({ detail }) => handle(detail.type, detail.payload));
 *     line.connect();
 *     line.findMatch('en');
 *
 * What it does beyond sending and parsing:
 * - It reconnects with full-jitter backoff, at once when the browser comes online, and resumes
 *   the session where the server lets it.
 * - It holds what its user wants (nobody, a match, the present room) and tells the server again
 *   after every reconnect, so a wish outlives a connection.
 * - Every relayed message carries `room_id`, and nothing of an old room is ever delivered.
 * - It notices a dead connection by itself: silence is answered by a ping, no pong by a new socket.
 *
 * @typedef {'closed' | 'connecting' | 'open' | 'retrying'} Status
 * @typedef {{ roomId: string, peerId: string, initiator: boolean }} Room
 * @typedef {'offer' | 'answer' | 'ice_candidate' | 'signal'} RelayType
 *
 * Events, and what their `detail` holds:
 * - `status`    `{ status, retryAt?, code? }`: `retryAt` in milliseconds since 1970.
 * - `session`   `{ sessionId, iceServers, resumed }`: first on every connection.
 * - `waiting`   `{ queue }`
 * - `match`     a {@link Room}
 * - `relay`     `{ type, payload }` from the partner: a stranger's words, to be checked.
 * - `peer_left` `{ roomId, reason }`: `left`, `next`, `disconnected` or `timeout`.
 * - `peer_away`, `peer_back` `{ roomId }`
 * - `room_lost` `{ roomId }`: this client was away for too long, or the server restarted.
 * - `refused`   `{ code, message }`: the server's `error`.
 * - `draining`  `{ deadlineMs }`: the server is about to stop.
 */

const RELAYED = new Set(['offer', 'answer', 'ice_candidate', 'signal']);

/** Errors that only say that two messages crossed on their way. */
const CROSSINGS = new Set(['not_in_room', 'not_waiting']);

/** @typedef {{ want: 'nobody' } | { want: 'match', queue?: string } | { want: 'room' }} Wish */

export class SwitchboardClient extends EventTarget {
  /** @type {Room | null} The present room. */
  room = null;
  /** @type {RTCIceServer[]} As the last `session` gave them. */
  iceServers = [];
  /** Whether the server has said that it is about to stop. */
  draining = false;

  #url;
  #options;
  /** @type {Status} */
  #status = 'closed';
  /** @type {WebSocket | null} */
  #socket = null;
  /** @type {WebSocket | null} Presumed dead; kept open until its session is resumed or gone. */
  #abandoned = null;
  /** @type {string | null} */
  #resumeToken = null;
  /** @type {Wish} */
  #wish = { want: 'nobody' };
  #failures = 0;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #retryTimer;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #silenceTimer;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #steadyTimer;

  /**
   * @param {string | URL} url of the WebSocket endpoint.
   * @param {object} [options]
   * @param {typeof WebSocket} [options.WebSocket] for runtimes that have none of their own.
   * @param {() => number} [options.random] in [0, 1).
   * @param {number} [options.backoffFirstMs] longest wait before the first new attempt.
   * @param {number} [options.backoffMostMs] longest wait before any new attempt.
   * @param {number} [options.silenceMs] silence after which a ping asks whether anyone is there.
   * @param {number} [options.pongMs] silence after that ping that means nobody is.
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

  /** Ends the session at once: the partner, if there is one, is told. */
  close() {
    this.#wish = { want: 'nobody' };
    this.room = null;
    this.#resumeToken = null;
    const socket = this.#drop();
    socket?.close(1000);
    this.#setStatus('closed');
  }

  /**
   * Asks for a partner; in a room, for the next one. Repeated after a reconnect until `match`.
   * @param {string} [queue] 1 to 64 of `A–Z a–z 0–9 _ . : -`; absent, the default queue.
   */
  findMatch(queue) {
    this.room = null;
    this.#wish = { want: 'match', queue };
    this.#send('find_match', queue === undefined ? undefined : { queue });
  }

  /** Takes {@link findMatch} back. */
  cancelMatch() {
    if (this.#wish.want !== 'match') return;
    this.#wish = { want: 'nobody' };
    this.#send('cancel_match');
  }

  /** Leaves the room, if there is one. */
  leaveRoom() {
    if (this.room === null) return;
    const { roomId } = this.room;
    this.room = null;
    this.#wish = { want: 'nobody' };
    this.#send('leave_room', undefined, roomId);
  }

  /**
   * Sends to the partner.
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
      if (this.#socket === socket) this.#lost(code);
    });
    // `close` follows and tells more; but where this runs outside of a browser, an error that
    // nobody listens for may end the program.
    socket.addEventListener('error', () => {});
    // A connection attempt that the network swallows would otherwise hang for minutes.
    this.#watchSilence(this.#options.pongMs, () => this.#abandon());
  }

  /** Forgets the present socket, and hands it back. */
  #drop() {
    const socket = this.#socket;
    this.#socket = null;
    clearTimeout(this.#retryTimer);
    clearTimeout(this.#silenceTimer);
    clearTimeout(this.#steadyTimer);
    return socket;
  }

  /**
   * The socket is gone; another will be tried.
   * @param {number} code of the Close frame, or 1006.
   */
  #lost(code) {
    this.#drop();
    // After a Close frame there is nothing left to resume (4001: someone else resumed it).
    if (code !== 1006) this.#resumeToken = null;
    const { backoffFirstMs, backoffMostMs, random } = this.#options;
    const ceilingMs = Math.min(backoffMostMs, backoffFirstMs * 2 ** this.#failures);
    this.#failures += 1;
    // Full jitter: a server that comes back is met by a drizzle, not by everyone at once.
    const delayMs = random() * ceilingMs;
    this.#retryTimer = setTimeout(() => this.#open(), delayMs);
    this.#setStatus('retrying', { retryAt: Date.now() + delayMs, code });
  }

  /** Gives up on a socket that says nothing. Its Close frame would end what is to be resumed. */
  #abandon() {
    const socket = this.#drop();
    this.#abandoned?.close();
    this.#abandoned = socket;
    this.#lost(1006);
  }

  #cameOnline() {
    if (this.#status === 'retrying') {
      this.#failures = 0;
      this.#open();
    } else if (this.#status === 'open') {
      this.#askForLife();
    }
  }

  /**
   * @param {number} afterMs
   * @param {() => void} then
   */
  #watchSilence(afterMs, then) {
    clearTimeout(this.#silenceTimer);
    this.#silenceTimer = setTimeout(then, afterMs);
  }

  #askForLife() {
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
    this.#watchSilence(this.#options.silenceMs, () => this.#askForLife());
    const message = parse(data);
    if (message === null) return;
    const { type, payload } = message;
    if (RELAYED.has(type)) this.#relayed(message);
    else if (type === 'session') this.#began(payload);
    else if (type === 'waiting') this.#emit('waiting', payload);
    else if (type === 'match_found') this.#matched(roomOf(payload));
    else if (type === 'peer_left') this.#peerLeft(payload.room_id, payload.reason);
    else if (type === 'peer_away' || type === 'peer_back') this.#peerMoved(type, payload.room_id);
    else if (type === 'error') this.#refused(payload);
    else if (type === 'draining') {
      this.draining = true;
      this.#emit('draining', { deadlineMs: payload.deadline_ms });
    }
    // `match_cancelled`, `room_left` and `pong` confirm what is known here already, and what a
    // later version may add is ignored.
  }

  /** @param {Record<string, any>} session */
  #began(session) {
    this.draining = false;
    this.#resumeToken = session.resume_token ?? null;
    this.iceServers = session.ice_servers ?? [];
    this.#abandoned?.close();
    this.#abandoned = null;
    // Only a connection that lasts proves the server well: one that takes and drops everybody
    // must not be asked without pause.
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
   * Brings the server's idea of this session and the user's wish together. Whatever was sent
   * shortly before the connection was lost may or may not have arrived.
   * @param {'idle' | 'waiting' | 'in_room'} state
   * @param {Record<string, any>} session
   * @param {boolean} resumed
   */
  #reconcile(state, session, resumed) {
    const serverRoom = state === 'in_room' ? roomOf(session) : null;
    const { room } = this;
    if (room !== null && room.roomId !== serverRoom?.roomId) {
      this.room = null;
      this.#wish = { want: 'nobody' };
      const { roomId } = room;
      if (resumed) this.#emit('peer_left', { roomId, reason: 'disconnected' });
      else this.#emit('room_lost', { roomId });
    }
    if (serverRoom !== null) this.#matched(serverRoom);
    else if (this.#wish.want === 'match' && state === 'idle') this.findMatch(this.#wish.queue);
    else if (this.#wish.want === 'nobody' && state === 'waiting') this.#send('cancel_match');
  }

  /** @param {Room} room */
  #matched(room) {
    // Known already: it was resumed, and its `match_found` was among what had been kept.
    if (room.roomId === this.room?.roomId) return;
    if (this.#wish.want === 'nobody') {
      // It crossed a `cancel_match` or a lost `leave_room`.
      this.#send('leave_room', undefined, room.roomId);
      return;
    }
    this.room = room;
    this.#wish = { want: 'room' };
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
    this.#wish = { want: 'nobody' };
    this.#emit('peer_left', { roomId, reason });
  }

  /**
   * @param {'peer_away' | 'peer_back'} type
   * @param {string} roomId
   */
  #peerMoved(type, roomId) {
    if (roomId === this.room?.roomId) this.#emit(type, { roomId });
  }

  /** @param {Record<string, any>} error */
  #refused({ code, message }) {
    if (!CROSSINGS.has(code)) this.#emit('refused', { code, message });
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
 * @returns {Record<string, any> | null} an object whose `type` is text, its payload an object
 *   unless it is relayed.
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
