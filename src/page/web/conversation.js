/**
 * A call together with the eye that is kept on it: it measures whether audio flows, has the way
 * through the network repaired, and says when there is nothing left to repair.
 *
 * Events, and what their `detail` holds:
 * - `stream`  the partner's MediaStream.
 * - `flowing` audio comes in for the first time.
 * - `silence` whether audio has stopped coming, at each change.
 * - `reading` a Reading of vitals.js, once a second.
 * - `muted`   whether the partner is.
 * - `over`    a Parting of phase.js. Nothing follows it.
 */

import { Call } from './call.js';
import { Vitals } from './vitals.js';
import { FLOWING_MS, advise } from './watch.js';

/** Until audio flows it is looked for often: this delay is part of what a visitor waits. */
const EAGER_MS = 100;
const CALM_MS = 1_000;

/** TURN's answers to credentials that are not right (RFC 8489 §14.8, RFC 8656 §19). */
const REFUSALS = new Set([401, 403, 441]);

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
  #over = false;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;

  /**
   * @param {object} options
   * @param {boolean} options.initiator
   * @param {RTCIceServer[]} options.iceServers
   * @param {boolean} options.relayOnly
   * @param {MediaStreamTrack} options.track
   * @param {boolean} options.muted
   * @param {(type: 'offer' | 'answer' | 'ice_candidate', payload: unknown) => void} options.send
   * @param {() => boolean} options.signalled whether what is sent can reach the partner.
   */
  constructor({ signalled, ...options }) {
    super();
    this.#relayOnly = options.relayOnly;
    this.#signalled = signalled;
    this.#call = new Call(options);
    this.#listen();
    this.#look();
  }

  /** Whether audio came in a moment ago. */
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

  /** Signalling was away and is back. */
  resync() {
    this.#restartedAt = performance.now();
    this.#call.resync();
  }

  /** @param {MediaStreamTrack} track */
  replaceTrack(track) {
    return this.#call.replaceTrack(track);
  }

  /** @param {boolean} muted */
  tellMuted(muted) {
    this.#call.tellMuted(muted);
  }

  /** @param {'left' | 'next'} bye */
  close(bye) {
    this.#over = true;
    clearTimeout(this.#timer);
    this.#call.close(bye);
  }

  #listen() {
    const call = this.#call;
    call.addEventListener('audio', (event) => this.#emit('stream', detail(event)));
    call.addEventListener('muted', (event) => this.#emit('muted', detail(event)));
    call.addEventListener('bye', (event) => this.#end(detail(event)));
    call.addEventListener('trouble', (event) => {
      if (REFUSALS.has(detail(event).code)) this.#relayRefused = true;
    });
    call.addEventListener('gathered', (event) => {
      // With relays alone allowed and none to be had, waiting would change nothing.
      if (this.#relayOnly && detail(event) === 0 && this.#audioAt === null) {
        this.#end(this.#relayRefused ? 'relay_refused' : 'relay_missing');
      }
    });
  }

  async #look() {
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
    this.#act(now);
    // Emitting may have ended it.
    if (!this.#over) {
      this.#timer = setTimeout(() => this.#look(), this.#audioAt === null ? EAGER_MS : CALM_MS);
    }
  }

  /** @param {number} now */
  #act(now) {
    const advice = advise({
      state: this.#call.state,
      ageMs: now - this.#startedAt,
      audioMs: this.#audioAt === null ? null : now - this.#audioAt,
      restartMs: now - this.#restartedAt,
      signalled: this.#signalled(),
    });
    if (advice === 'restart') {
      this.#restartedAt = now;
      this.#call.restart();
    } else if (advice === 'give_up') {
      if (this.#audioAt !== null) this.#end('lost');
      else this.#end(this.#relayRefused ? 'relay_refused' : 'unreachable');
    }
  }

  /** @param {import('./phase.js').Parting} why */
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
