/**
 * The state machine of the page: the phase of a visitor between opening the page and a call, and
 * one pure function from a phase and an event to the next phase. app.js carries out the effects
 * of a change; view.js shows it.
 *
 * @typedef {'denied' | 'dismissed' | 'none' | 'busy' | 'other'} MicrophoneTrouble
 * @typedef {'left' | 'next' | 'disconnected' | 'timeout' | 'lost' | 'unreachable'
 *   | 'relay_refused' | 'relay_missing'} EndReason
 *
 * The state of signalling during a call:
 * - `up`           signalling works on both sides
 * - `partner_away` the partner's signalling was lost and may come back
 * - `partner_gone` the partner's signalling has ended
 * - `own_gone`     this side has a new session, so the call continues without signalling
 * @typedef {'up' | 'partner_away' | 'partner_gone' | 'own_gone'} Signalling
 *
 * @typedef {{ name: 'blocked', why: 'insecure' | 'no_webrtc' }
 *   | { name: 'welcome' }
 *   | { name: 'asking' }
 *   | { name: 'mic_failed', why: MicrophoneTrouble }
 *   | { name: 'ready' }
 *   | { name: 'searching', since: number, after?: EndReason }
 *   | { name: 'connecting', since: number }
 *   | { name: 'talking', since: number, signalling: Signalling, silent: boolean }
 *   | { name: 'ended', why: EndReason }} Phase
 *
 * @typedef {{ type: 'ask' } | { type: 'mic_opened' }
 *   | { type: 'mic_failed', why: MicrophoneTrouble }
 *   | { type: 'search', at: number, after?: EndReason } | { type: 'stop' }
 *   | { type: 'matched', at: number } | { type: 'audio', at: number }
 *   | { type: 'silence', silent: boolean } | { type: 'signalling', signalling: Signalling }
 *   | { type: 'ended', why: EndReason }} Event
 */

/** @type {Phase['name'][]} */
const IN_CALL = ['connecting', 'talking'];
/** @type {Phase['name'][]} */
const MAY_SEARCH = ['ready', 'connecting', 'talking', 'ended'];
/** @type {Phase['name'][]} */
const MAY_STOP = ['searching', 'connecting', 'talking', 'ended'];
/** @type {Phase['name'][]} */
const MAY_ASK = ['welcome', 'mic_failed'];

/**
 * @param {Phase} phase
 * @returns {boolean}
 */
export const inCall = (phase) => IN_CALL.includes(phase.name);

/**
 * @param {Phase} phase
 * @param {Event} event
 * @returns {Phase} `phase` itself if the event has no effect in it.
 */
export function advance(phase, event) {
  switch (event.type) {
    case 'ask':
      return MAY_ASK.includes(phase.name) ? { name: 'asking' } : phase;
    case 'mic_opened':
      return phase.name === 'asking' ? { name: 'ready' } : phase;
    case 'mic_failed':
      // During a call too: without a microphone it cannot continue.
      return phase.name === 'blocked' ? phase : { name: 'mic_failed', why: event.why };
    case 'search':
      return MAY_SEARCH.includes(phase.name)
        ? { name: 'searching', since: event.at, after: event.after }
        : phase;
    case 'stop':
      return MAY_STOP.includes(phase.name) ? { name: 'ready' } : phase;
    case 'matched':
      return phase.name === 'searching' ? { name: 'connecting', since: event.at } : phase;
    case 'audio':
      return phase.name === 'connecting'
        ? { name: 'talking', since: event.at, signalling: 'up', silent: false }
        : phase;
    case 'silence':
      return phase.name === 'talking' && phase.silent !== event.silent
        ? { ...phase, silent: event.silent }
        : phase;
    case 'signalling':
      return phase.name === 'talking' && phase.signalling !== event.signalling
        ? { ...phase, signalling: event.signalling }
        : phase;
    case 'ended':
      return inCall(phase) ? { name: 'ended', why: event.why } : phase;
  }
}
