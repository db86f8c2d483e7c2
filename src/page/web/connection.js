/**
 * A WebSocket that stays connected: it reconnects at once and then with full-jitter backoff, gives
 * an attempt more time after each failure, and replaces connections that died without a Close frame.
 * client.js uses it; it knows nothing of the messages but `ping`.
 *
 * Events, and what their `detail` holds:
 * - `status` `{ status, retryAt?, code?, opened? }`: see client.js.
 * - `text`   the text of a message.
 *
 * @typedef {'closed' | 'connecting' | 'open' | 'retrying'} Status
 *
 * @typedef {object} ConnectionOptions
 * @property {typeof globalThis.WebSocket} [WebSocket] for runtimes without a global one.
 * @property {() => number} [random] in [0, 1).
 * @property {number} [backoffFirstMs] upper bound of the delay before the second attempt to reconnect;
 *   it doubles with each failure. The first attempt is made at once.
 * @property {number} [backoffMostMs] upper bound of the delay before any reconnect.
 * @property {number} [openFirstMs] time for each step of opening; it doubles with each failure.
 * @property {number} [openMostMs] upper bound of that time.
 * @property {number} [silenceMs] silence after which a ping is sent.
 * @property {number} [pongMs] silence after that ping after which the connection counts as dead.
 */

/** A timer that fires later than this was held up: the page was frozen, or the device asleep. */
const LATE_MS = 2_000;
/** The backoff is reset after a connection has lasted for this time. */
const STEADY_MS = 5_000;
/** Close code of a server that is restarting, and so closes all its connections. */
const RESTARTING = 1012;

export class Connection extends EventTarget {
  /** @type {string | null} Sent with the next attempt. */
  resumeToken = null;

  #url;
  #options;
  /** @type {Status} */
  #status = 'closed';
  /** @type {WebSocket | null} */
  #socket = null;
  /** @type {WebSocket | null} Presumed dead; kept open until its session is resumed or ended. */
  #abandoned = null;
  #failures = 0;
  #opened = false;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #retryTimer;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #silenceTimer;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #steadyTimer;

  /**
   * @param {string | URL} url URL of the WebSocket endpoint.
   * @param {ConnectionOptions} options
   */
  constructor(url, options) {
    super();
    this.#url = url;
    this.#options = {
      WebSocket: globalThis.WebSocket,
      random: Math.random,
      backoffFirstMs: 500,
      backoffMostMs: 5_000,
      openFirstMs: 12_000,
      openMostMs: 60_000,
      silenceMs: 20_000,
      pongMs: 8_000,
      ...options,
    };
    for (const type of ['online', 'pageshow']) {
      globalThis.addEventListener?.(type, () => this.#wake(type === 'online'));
    }
    globalThis.document?.addEventListener('visibilitychange', () => this.#wake(false));
  }

  get status() {
    return this.#status;
  }

  /** Connects, and stays connected until {@link close}. */
  connect() {
    if (this.#status === 'closed' || this.#status === 'retrying') this.#open();
  }

  /** Closes the connection with a Close frame, which ends the session. */
  close() {
    this.resumeToken = null;
    const socket = this.#detach();
    socket?.close(1000);
    this.#setStatus('closed');
  }

  /** The server has opened a session: from now on messages can be sent. */
  ready() {
    this.#abandoned?.close();
    this.#abandoned = null;
    // The backoff is reset only after the connection has lasted: a server that accepts and then
    // drops connections must not be retried without delay.
    this.#steadyTimer = setTimeout(() => (this.#failures = 0), STEADY_MS);
    this.#setStatus('open');
  }

  /**
   * @param {object} message
   * @returns {boolean} whether it was sent: false without a session.
   */
  send(message) {
    if (this.#status !== 'open') return false;
    this.#socket?.send(JSON.stringify(message));
    return true;
  }

  /**
   * Postpones the next attempt, because the server is known to refuse it until then.
   * @param {number} ms at least; up to half as much again is added, so that clients spread.
   */
  retryAfter(ms) {
    if (this.#status === 'retrying') this.#retryIn(ms * (1 + this.#options.random() / 2));
  }

  #open() {
    clearTimeout(this.#retryTimer);
    const url = new URL(this.#url);
    if (this.resumeToken !== null) url.searchParams.set('resume', this.resumeToken);
    const socket = new this.#options.WebSocket(url);
    this.#socket = socket;
    this.#opened = false;
    this.#setStatus('connecting');
    // Otherwise an attempt whose packets are dropped would hang for minutes. On a slow network an
    // attempt that is abandoned too early never succeeds, so each failure adds patience.
    const { openFirstMs, openMostMs } = this.#options;
    const patienceMs = Math.min(openMostMs, openFirstMs * 2 ** this.#failures);
    const watch = () => this.#watchSilence(patienceMs, () => this.#abandon());
    socket.addEventListener('open', () => {
      if (this.#socket !== socket) return;
      this.#opened = true;
      watch();
    });
    socket.addEventListener('message', ({ data }) => {
      if (this.#socket !== socket) return;
      this.#watchSilence(this.#options.silenceMs, () => this.#probe());
      this.dispatchEvent(new CustomEvent('text', { detail: data }));
    });
    socket.addEventListener('close', ({ code }) => {
      if (this.#socket === socket) this.#connectionLost(code);
    });
    // `close` follows and has the details. Outside a browser, an `error` event without a listener
    // may end the program.
    socket.addEventListener('error', () => {});
    watch();
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
    if (code !== 1006) this.resumeToken = null;
    const retryAt = this.#retryIn(this.#backoffMs(code));
    this.#setStatus('retrying', { retryAt, code, opened: this.#opened });
  }

  /** @param {number} code of the connection that was lost. */
  #backoffMs(code) {
    const { backoffFirstMs, backoffMostMs, random } = this.#options;
    const nth = this.#failures;
    this.#failures += 1;
    // Full jitter: clients of a restarted server must not all reconnect at the same time. A server
    // that restarts (1012) closes all connections, so the first attempt is delayed too.
    if (nth === 0) return code === RESTARTING ? random() * backoffMostMs : 0;
    return random() * Math.min(backoffMostMs, backoffFirstMs * 2 ** (nth - 1));
  }

  /**
   * @param {number} delayMs
   * @returns {number} when the attempt is made, in milliseconds since 1970.
   */
  #retryIn(delayMs) {
    clearTimeout(this.#retryTimer);
    this.#retryTimer = setTimeout(() => this.#open(), delayMs);
    return Date.now() + delayMs;
  }

  /**
   * Abandons a silent socket without a Close frame, which would end the session that is to be
   * resumed.
   */
  #abandon() {
    const socket = this.#detach();
    this.#abandoned?.close();
    this.#abandoned = null;
    if (this.#opened) this.#abandoned = socket;
    else socket?.close();
    this.#connectionLost(1006);
  }

  /**
   * The page was shown, hidden or restored, or the browser came online: any of these may follow a
   * time in which the connection was lost or the page could not run.
   * @param {boolean} online whether the network is another one, so earlier failures do not count.
   */
  #wake(online) {
    if (online) this.#failures = 0;
    // A hidden page can wait for its time.
    if (this.#status === 'retrying' && !globalThis.document?.hidden) this.#open();
    else if (this.#status === 'open') this.#probe();
  }

  /**
   * Calls `then` when nothing has arrived for `afterMs`.
   * @param {number} afterMs
   * @param {() => void} then
   * @param {boolean} [again] whether a timer that fires late gets another chance.
   */
  #watchSilence(afterMs, then, again = true) {
    clearTimeout(this.#silenceTimer);
    const dueAt = Date.now() + afterMs;
    this.#silenceTimer = setTimeout(() => {
      // After a freeze the timer fires before the messages that have arrived meanwhile.
      if (again && Date.now() - dueAt > LATE_MS) this.#watchSilence(LATE_MS, then, false);
      else then();
    }, afterMs);
  }

  #probe() {
    this.send({ type: 'ping' });
    this.#watchSilence(this.#options.pongMs, () => this.#abandon());
  }

  /**
   * @param {Status} status
   * @param {object} [more]
   */
  #setStatus(status, more = {}) {
    this.#status = status;
    this.dispatchEvent(new CustomEvent('status', { detail: { status, ...more } }));
  }
}
