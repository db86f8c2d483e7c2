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
 * - It reconnects at once, then with full-jitter backoff, and resumes the session where the server
 *   supports it. An attempt that makes no progress is given more time after each failure.
 * - It stores the goal of its user (no partner, a match, the present room) and requests it again
 *   after every reconnect, so a match request survives a lost connection.
 * - It knows what the server last confirmed. A request without an answer is followed by a ping, and
 *   repeated when the pong arrives without that answer. A request that was refused for a time only is
 *   repeated when that time is over.
 * - Every relayed message carries `room_id`. Messages of an earlier room are never delivered.
 * - It detects dead connections: after a silence it sends a ping, and without a pong it opens a
 *   new socket. It also sends a ping when the page is shown, hidden or online again.
 *
 * @typedef {import('./connection.js').Status} Status
 * @typedef {'unknown' | 'idle' | 'waiting' | 'in_room'} Confirmed the state of the session that the
 *   server last confirmed; `unknown` without a connection.
 * @typedef {{ roomId: string, peerId: string, initiator: boolean }} Room
 * @typedef {'offer' | 'answer' | 'ice_candidate' | 'signal'} RelayType
 *
 * Events, and what their `detail` holds:
 * - `status`    `{ status, retryAt?, code?, opened? }`: `retryAt` in milliseconds since 1970,
 *   `opened` is whether the lost connection had been opened.
 * - `session`   `{ sessionId, iceServers, relayOnly, resumed }`: first on every connection.
 * - `confirmed` `{ confirmed }`: a {@link Confirmed}, at each change.
 * - `waiting`   `{ queue, expected_wait_ms? }`
 * - `match`     a {@link Room}
 * - `relay`     `{ type, payload }` from the partner: untrusted input, to be validated.
 * - `peer_left` `{ roomId, reason }`: `left`, `next`, `disconnected` or `timeout`.
 * - `peer_away`, `peer_back` `{ roomId }`
 * - `room_lost` `{ roomId }`: the room ended while this client was disconnected, the server restarted, or
 *   this session waits again.
 * - `refused`   `{ code, message, refused?, retryAt? }`: the server's `error`. `refused` is the type of
 *   the message, if it is known. At `retryAt` the client sends it again.
 * - `draining`  `{ deadlineMs }`: the server is shutting down.
 */

import { Connection } from './connection.js';

const RELAYED = new Set(['offer', 'answer', 'ice_candidate', 'signal']);

const DEFAULT_QUEUE = 'default';

/** Errors that are expected when a message of the client and one of the server cross. */
const CROSSING_ERRORS = new Set(['not_in_room', 'not_waiting']);

/** Errors that concern only this type, from servers that do not name the refused message. */
const REFUSED_TYPES = /** @type {Record<string, string>} */ ({
  bad_queue: 'find_match',
  bad_tags: 'find_match',
  draining: 'find_match',
  too_many_matches: 'find_match',
  not_waiting: 'cancel_match',
  not_in_room: 'leave_room',
});

/** Errors that pass, and after how long the request is repeated if the server does not say. */
const RETRY_MS = /** @type {Record<string, number>} */ ({ rate_limited: 1_000, too_many_matches: 5_000 });

/**
 * What the user of the client wants.
 * @typedef {{ name: 'idle' } | { name: 'match', queue?: string } | { name: 'room' }} Goal
 * @typedef {{ type: 'find_match' | 'cancel_match' | 'leave_room', payload?: object, roomId?: string }} Request
 */

export class SwitchboardClient extends EventTarget {
  /** @type {Room | null} The present room. */
  room = null;
  /** @type {RTCIceServer[]} From the last `session` or `match_found` that had some. */
  iceServers = [];
  /** Whether the server asks for calls through a relay only. */
  relayOnly = false;
  /** Whether the server has announced that it is shutting down. */
  draining = false;

  #connection;
  #answerMs;
  /** @type {string | null} The queue that the last `waiting` named. */
  #queue = null;
  /** @type {number | null} Marks the pings that follow the open request; null, no pong repeats it. */
  #probe = null;
  #probes = 0;
  /** @type {Confirmed} */
  #confirmed = 'unknown';
  /** @type {Request | null} The last change of state that was asked for and not yet answered. */
  #request = null;
  /** @type {Goal} */
  #goal = { name: 'idle' };
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #requestTimer;

  /**
   * @param {string | URL} url URL of the WebSocket endpoint.
   * @param {import('./connection.js').ConnectionOptions & { answerMs?: number }} [options] those of
   *   connection.js, and the time after which an unanswered request is followed by a ping.
   */
  constructor(url, { answerMs = 5_000, ...options } = {}) {
    super();
    this.#answerMs = answerMs;
    this.#connection = new Connection(url, options);
    this.#connection.addEventListener('text', (event) => this.#receive(detailOf(event)));
    this.#connection.addEventListener('status', (event) => {
      if (this.status !== 'open') this.#disconnected();
      this.#emit('status', detailOf(event));
    });
  }

  /** @returns {Status} */
  get status() {
    return this.#connection.status;
  }

  /** @returns {Confirmed} */
  get confirmed() {
    return this.#confirmed;
  }

  /** @returns {string | null} the queue in which the session waits, as the server last confirmed it. */
  get queue() {
    return this.#confirmed === 'waiting' ? this.#queue : null;
  }

  /** Connects, and stays connected until {@link close}. */
  connect() {
    this.#connection.connect();
  }

  /** Ends the session immediately. The partner, if there is one, gets `peer_left`. */
  close() {
    this.#goal = { name: 'idle' };
    this.room = null;
    this.#connection.close();
  }

  /**
   * Postpones the next attempt to reconnect, because the server is known to refuse it until then.
   * @param {number} ms at least; up to half as much again is added, so that clients spread.
   */
  retryAfter(ms) {
    this.#connection.retryAfter(ms);
  }

  /**
   * Requests a partner; in a room, the next one. Repeated after each reconnect until `match`. Nothing
   * is sent if the session already waits in this queue: the request could cross a `match_found`.
   * @param {string} [queue] 1 to 64 of `A–Z a–z 0–9 _ . : -`; absent, the default queue.
   */
  findMatch(queue) {
    this.room = null;
    this.#goal = { name: 'match', queue };
    if (this.#request === null && this.queue === (queue ?? DEFAULT_QUEUE)) return;
    this.#ask({ type: 'find_match', payload: queue === undefined ? undefined : { queue } });
  }

  /** Cancels {@link findMatch}. */
  cancelMatch() {
    if (this.#goal.name !== 'match') return;
    this.#goal = { name: 'idle' };
    this.#ask({ type: 'cancel_match' });
  }

  /** Leaves the room, if there is one. */
  leaveRoom() {
    if (this.room === null) return;
    const { roomId } = this.room;
    this.room = null;
    this.#goal = { name: 'idle' };
    this.#ask({ type: 'leave_room', roomId });
  }

  /**
   * Sends a message to the partner.
   * @param {RelayType} type
   * @param {unknown} payload
   * @param {string} [roomId] the room that it is meant for; absent, the present one.
   * @returns {boolean} whether it was sent: false outside that room or without a connection.
   */
  signal(type, payload, roomId = this.room?.roomId) {
    return this.room !== null && roomId === this.room.roomId && this.#send(type, payload, roomId);
  }

  /**
   * @param {string} type
   * @param {unknown} [payload]
   * @param {string} [roomId]
   */
  #send(type, payload, roomId) {
    return this.#connection.send({ type, room_id: roomId, payload });
  }

  /**
   * Asks for a change of state, and again if the server has dropped it. A later request replaces an
   * earlier one.
   * @param {Request} request
   */
  #ask(request) {
    clearTimeout(this.#requestTimer);
    if (!this.#send(request.type, request.payload, request.roomId)) return;
    this.#request = request;
    this.#probes += 1;
    this.#probe = this.#probes;
    this.#probeIn(this.#answerMs);
  }

  /**
   * Sends a ping behind the open request, and again, because a ping may be dropped too. On a slow
   * network the answer may be on its way, and a second `find_match` that crosses `match_found` would
   * end the new room. The server answers in order: a pong without the answer shows a dropped request.
   * @param {number} delayMs
   */
  #probeIn(delayMs) {
    this.#requestTimer = setTimeout(() => {
      this.#send('ping', { probe: this.#probe });
      this.#probeIn(delayMs);
    }, delayMs);
  }

  /** @param {unknown} probe of a `pong` */
  #ponged(probe) {
    if (this.#request !== null && this.#probe !== null && probe === this.#probe) this.#ask(this.#request);
  }

  /**
   * @param {number} delayMs
   * @param {Request} request
   */
  #repeatIn(delayMs, request) {
    clearTimeout(this.#requestTimer);
    this.#probe = null;
    this.#requestTimer = setTimeout(() => this.#ask(request), delayMs);
  }

  /** Nothing is known of the session any more; everything is requested again of the next one. */
  #disconnected() {
    this.#request = null;
    clearTimeout(this.#requestTimer);
    this.#confirm('unknown');
  }

  /** @param {Request['type'][]} types of the request that the server has answered. */
  #answered(...types) {
    if (this.#request === null || !types.includes(this.#request.type)) return;
    this.#request = null;
    clearTimeout(this.#requestTimer);
  }

  /** @param {Confirmed} confirmed */
  #confirm(confirmed) {
    if (confirmed === this.#confirmed) return;
    this.#confirmed = confirmed;
    this.#emit('confirmed', { confirmed });
  }

  /** @param {string} data */
  #receive(data) {
    const message = parse(data);
    if (message === null) return;
    const { type, payload } = message;
    if (RELAYED.has(type)) this.#relayed(message);
    else if (type === 'session') this.#sessionStarted(payload);
    else if (type === 'waiting') this.#waits(payload);
    else if (type === 'match_cancelled' || type === 'room_left') this.#becameIdle(type);
    else if (type === 'match_found') this.#matched(payload);
    else if (type === 'peer_left') this.#peerLeft(payload.room_id, payload.reason);
    else if (type === 'peer_away' || type === 'peer_back') this.#peerConnectionChanged(type, payload.room_id);
    else if (type === 'error') this.#refused(payload);
    else if (type === 'pong') this.#ponged(payload.probe);
    else if (type === 'draining') {
      this.draining = true;
      this.#emit('draining', { deadlineMs: payload.deadline_ms });
    }
    // Unknown types are ignored: a later protocol version may add some.
  }

  /** @param {Record<string, any>} payload */
  #waits(payload) {
    // The answer to an earlier request for another queue confirms the state, not the last request.
    if (this.#goal.name === 'match' && payload.queue === (this.#goal.queue ?? DEFAULT_QUEUE)) {
      this.#answered('find_match');
    }
    this.#queue = payload.queue ?? null;
    this.#confirm('waiting');
    this.#endRoom();
    this.#emit('waiting', payload);
  }

  /** The session waits, so it has left the room that this client knows. */
  #endRoom() {
    if (this.room === null) return;
    const { roomId } = this.room;
    this.room = null;
    this.#goal = { name: 'idle' };
    this.#emit('room_lost', { roomId });
    // A listener may have asked for the next partner. Otherwise the next user would wait in vain.
    if (nameOf(this.#goal) === 'idle') this.#ask({ type: 'cancel_match' });
  }

  /** @param {'match_cancelled' | 'room_left'} type */
  #becameIdle(type) {
    this.#answered(type === 'room_left' ? 'leave_room' : 'cancel_match');
    this.#confirm('idle');
  }

  /** @param {Record<string, any>} session */
  #sessionStarted(session) {
    this.draining = false;
    this.#connection.resumeToken = session.resume_token ?? null;
    this.iceServers = session.ice_servers ?? [];
    this.relayOnly = session.relay_only === true;
    const resumed = session.resumed === true;
    this.#connection.ready();
    this.#emit('session', {
      sessionId: session.session_id,
      iceServers: this.iceServers,
      relayOnly: this.relayOnly,
      resumed,
    });
    const state = resumed ? session.state : 'idle';
    this.#queue = null;
    this.#confirm(state);
    this.#reconcile(state, session, resumed);
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
    if (serverRoom !== null) this.#matched(session);
    else if (this.#goal.name === 'match' && state === 'idle') this.findMatch(this.#goal.queue);
    else if (this.#goal.name === 'idle' && state === 'waiting') this.#ask({ type: 'cancel_match' });
  }

  /** @param {Record<string, any>} payload of `match_found`, or of a `session` with a room. */
  #matched(payload) {
    const room = roomOf(payload);
    this.#answered('find_match', 'cancel_match');
    this.#confirm('in_room');
    // Already known: the session was resumed, and `match_found` was among the kept messages.
    if (room.roomId === this.room?.roomId) return;
    if (this.#goal.name === 'idle') {
      // `match_found` crossed a `cancel_match` or a `leave_room` that was lost.
      this.#ask({ type: 'leave_room', roomId: room.roomId });
      return;
    }
    // Credentials that were made for this call end later than those of an old session.
    this.iceServers = payload.ice_servers ?? this.iceServers;
    this.room = room;
    this.#goal = { name: 'room' };
    this.#emit('match', room);
  }

  /** @param {Record<string, any>} message */
  #relayed({ type, payload, room_id }) {
    if (this.room === null) return;
    if ((room_id ?? this.room.roomId) !== this.room.roomId) return;
    this.#emit('relay', { type, payload });
  }

  /**
   * @param {string} roomId
   * @param {string} reason
   */
  #peerLeft(roomId, reason) {
    this.#answered('leave_room');
    if (this.#confirmed === 'in_room') this.#confirm('idle');
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
  #refused({ code, message, refused, retry_after_ms }) {
    const request = this.#request;
    const type = refused ?? REFUSED_TYPES[code];
    // An error that names no message may concern the open request: it can be repeated in any case.
    const isRequest = request !== null && (type === undefined ? code in RETRY_MS : type === request.type);
    const detail = { code, message, refused: isRequest ? request.type : type };
    if (!isRequest) {
      if (!CROSSING_ERRORS.has(code)) this.#emit('refused', detail);
    } else if (code in RETRY_MS) {
      const delayMs = retry_after_ms ?? RETRY_MS[code];
      this.#repeatIn(delayMs, request);
      this.#leaveOldRoom(request);
      this.#emit('refused', { ...detail, retryAt: Date.now() + delayMs });
    } else {
      this.#answered(request.type);
      if (code === 'not_waiting' && this.#confirmed === 'waiting') this.#confirm('idle');
      if (CROSSING_ERRORS.has(code)) return;
      // A server that shuts down closes the connection; the goal is asked for on the next one.
      if (code !== 'draining') this.#goal = this.#remainingGoal();
      this.#leaveOldRoom(request);
      this.#emit('refused', detail);
    }
  }

  /**
   * A refused request changes nothing on the server: the session waits where it waited before.
   * @returns {Goal}
   */
  #remainingGoal() {
    const { queue } = this;
    if (queue === null) return { name: 'idle' };
    return { name: 'match', queue: queue === DEFAULT_QUEUE ? undefined : queue };
  }

  /**
   * A refused `find_match` leaves the session in its room, which this client has given up.
   * @param {Request} request
   */
  #leaveOldRoom({ type }) {
    if (type === 'find_match' && this.#confirmed === 'in_room') this.#send('leave_room');
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

/** @param {Goal} goal that a listener may have changed. */
const nameOf = ({ name }) => name;

/** @param {Event} event */
function detailOf(event) {
  return /** @type {CustomEvent} */ (event).detail;
}
