/**
 * A call and its supervision: measures whether audio is received, restarts ICE when the
 * connection fails, and ends the call when it cannot be repaired.
 *
 * Events, and what their `detail` holds:
 * - `stream`  the partner's MediaStream.
 * - `flowing` audio is received for the first time.
 * - `silence` whether audio has stopped, at each change.
 * - `reading` a Reading of vitals.js, once a second.
 * - `muted`   whether the partner is muted.
 * - `over`    an EndReason of phase.js. It is the last event.
 */

import { Call } from './call.js';
import { Vitals } from './vitals.js';
import { FLOWING_MS, advise } from './watch.js';

/** Poll interval before the first audio: this delay is part of the time a visitor waits. */
const POLL_BEFORE_AUDIO_MS = 100;
/** Poll interval afterwards. */
const POLL_MS = 1_000;

/** Time that a partner who reads slowly is given before messages are repeated. */
const REPEAT_MS = 1_000;

/** TURN error codes for wrong credentials (RFC 8489 §14.8, RFC 8656 §19). */
const CREDENTIAL_ERRORS = new Set([401, 403, 441]);

export class Conversation extends EventTarget {
  #call;
  #relayOnly;
  #signalled;
  #vitals = new Vitals();
  #startedAt = performance.now();
  #restartedAt = performance.now();
  /** @type {number | null} */
  #audioAt = null;
  #bytes = 0;
  #silent = false;
  #relayRefused = false;
  #answerLost = false;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #repeatTimer;
  #over = false;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;

  /**
   * @param {object} options
   * @param {boolean} options.initiator
   * @param {() => RTCIceServer[]} options.iceServers the present ones.
   * @param {boolean} options.relayOnly
   * @param {MediaStreamTrack} options.track
   * @param {boolean} options.muted
   * @param {(type: 'offer' | 'answer' | 'ice_candidate', payload: unknown) => void} options.send
   * @param {() => boolean} options.signalled whether signalling messages can reach the partner.
   */
  constructor({ signalled, ...options }) {
    super();
    this.#relayOnly = options.relayOnly;
    this.#signalled = signalled;
    this.#call = new Call(options);
    this.#listen();
    this.#poll();
  }

  /** Whether audio was received recently. */
  get flowing() {
    return this.#audioAt !== null && performance.now() - this.#audioAt < FLOWING_MS;
  }

  /**
   * @param {'offer' | 'answer' | 'ice_candidate'} type
   * @param {unknown} payload
   */
  receive(type, payload) {
    this.#call.receive(type, payload);
  }

  /** Called when signalling works again after an interruption. */
  resync() {
    this.#restartedAt = performance.now();
    this.#call.resync();
  }

  /**
   * The server did not pass a message on, because the partner reads too slowly or this page sends too
   * much. Without it the call could hang, so ICE is restarted after a while.
   * @param {string} type of the message.
   */
  notPassedOn(type) {
    this.#answerLost ||= type === 'answer';
    this.#repeatTimer ??= setTimeout(() => {
      this.#repeatTimer = undefined;
      if (this.#over || !this.#signalled()) return;
      this.#restartedAt = performance.now();
      this.#call.repeat(this.#answerLost);
      this.#answerLost = false;
    }, REPEAT_MS);
  }

  /** @param {MediaStreamTrack} track */
  replaceTrack(track) {
    return this.#call.replaceTrack(track);
  }

  /** @param {boolean} muted */
  sendMuted(muted) {
    this.#call.sendMuted(muted);
  }

  /** @param {'left' | 'next'} bye */
  close(bye) {
    this.#over = true;
    clearTimeout(this.#timer);
    clearTimeout(this.#repeatTimer);
    this.#call.close(bye);
  }

  #listen() {
    const call = this.#call;
    call.addEventListener('audio', (event) => this.#emit('stream', detail(event)));
    call.addEventListener('muted', (event) => this.#emit('muted', detail(event)));
    call.addEventListener('bye', (event) => this.#end(detail(event)));
    call.addEventListener('ice_error', (event) => {
      if (CREDENTIAL_ERRORS.has(detail(event).code)) this.#relayRefused = true;
    });
    call.addEventListener('gathered', (event) => {
      // Only relays are allowed and none can be reached, so waiting does not help.
      if (this.#relayOnly && detail(event) === 0 && this.#audioAt === null) {
        this.#end(this.#relayRefused ? 'relay_refused' : 'relay_missing');
      }
    });
  }

  async #poll() {
    const report = await this.#call.getStats();
    if (this.#over) return;
    const reading = this.#vitals.read(report);
    const now = performance.now();
    if (reading.bytesReceived > this.#bytes) {
      this.#bytes = reading.bytesReceived;
      if (this.#audioAt === null) this.#emit('flowing', null);
      this.#audioAt = now;
    }
    const silent = this.#audioAt !== null && !this.flowing;
    if (silent !== this.#silent) this.#emit('silence', silent);
    this.#silent = silent;
    if (this.#audioAt !== null) this.#emit('reading', reading);
    this.#followAdvice(now);
    // A listener may have ended the conversation.
    if (!this.#over) {
      this.#timer = setTimeout(() => this.#poll(), this.#audioAt === null ? POLL_BEFORE_AUDIO_MS : POLL_MS);
    }
  }

  /** @param {number} now */
  #followAdvice(now) {
    const advice = advise({
      state: this.#call.state,
      ageMs: now - this.#startedAt,
      audioMs: this.#audioAt === null ? null : now - this.#audioAt,
      restartMs: now - this.#restartedAt,
      unanswered: this.#call.unanswered,
      signalled: this.#signalled(),
    });
    if (advice === 'restart') {
      this.#restartedAt = now;
      // With an offer that has no answer, ICE cannot be restarted before it is sent again.
      this.#call.resync();
    } else if (advice === 'give_up') {
      if (this.#audioAt !== null) this.#end('lost');
      else this.#end(this.#relayRefused ? 'relay_refused' : 'unreachable');
    }
  }

  /** @param {import('./phase.js').EndReason} why */
  #end(why) {
    this.#emit('over', why);
    this.#over = true;
  }

  /**
   * @param {string} type
   * @param {unknown} value
   */
  #emit(type, value) {
    if (!this.#over) this.dispatchEvent(new CustomEvent(type, { detail: value }));
  }
}

/** @param {Event} event */
function detail(event) {
  return /** @type {CustomEvent} */ (event).detail;
}
