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
 * What the server has confirmed about a search:
 * - `away`    there is no connection, so the visitor is in no line
 * - `asking`  the request has not been answered yet
 * - `waiting` the visitor is in line; `queue` is its name, empty for the common line
 * - `held`    the request was refused for now; it is repeated at `until`, if that is known
 * @typedef {{ name: 'away' } | { name: 'asking' } | { name: 'waiting', queue: string }
 *   | { name: 'held', why: 'too_many_matches' | 'rate_limited' | 'draining', until?: number }} Line
 *
 * @typedef {'bad_queue' | 'long_queue' | 'no_relay' | 'other'} RefusalReason
 *
 * @typedef {{ name: 'blocked', why: 'insecure' | 'no_webrtc' }
 *   | { name: 'welcome' }
 *   | { name: 'asking', then?: 'search' }
 *   | { name: 'mic_failed', why: MicrophoneTrouble }
 *   | { name: 'ready' }
 *   | { name: 'searching', since: number, after?: EndReason, line: Line }
 *   | { name: 'refused', why: RefusalReason }
 *   | { name: 'connecting', since: number }
 *   | { name: 'talking', since: number, signalling: Signalling, silent: boolean }
 *   | { name: 'ended', why: EndReason }
 *   | { name: 'stopped' }} Phase
 *
 * @typedef {{ type: 'ask' } | { type: 'mic_opened', at: number }
 *   | { type: 'mic_failed', why: MicrophoneTrouble }
 *   | { type: 'search', at: number, after?: EndReason } | { type: 'stop' }
 *   | { type: 'line', line: Line, at: number } | { type: 'refused', why: RefusalReason }
 *   | { type: 'matched', at: number } | { type: 'audio', at: number }
 *   | { type: 'silence', silent: boolean } | { type: 'signalling', signalling: Signalling }
 *   | { type: 'ended', why: EndReason }} Event
 */

/** @type {Phase['name'][]} */
const IN_CALL = ['connecting', 'talking'];
/** @type {Phase['name'][]} */
const MAY_SEARCH = ['ready', 'refused', 'connecting', 'talking', 'ended'];
/** @type {Phase['name'][]} */
const MAY_STOP = ['searching', 'refused', 'connecting', 'talking', 'ended'];
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
      if (phase.name !== 'asking') return phase;
      return phase.then === 'search' ? searching(event.at) : { name: 'ready' };
    case 'mic_failed':
      // During a call too: without a microphone it cannot continue.
      return phase.name === 'blocked' ? phase : { name: 'mic_failed', why: event.why };
    case 'search':
      // Stop has turned the microphone off.
      if (phase.name === 'stopped') return { name: 'asking', then: 'search' };
      return MAY_SEARCH.includes(phase.name) ? searching(event.at, event.after) : phase;
    case 'line':
      return phase.name === 'searching' ? inLine(phase, event) : phase;
    case 'refused':
      return phase.name === 'searching' ? { name: 'refused', why: event.why } : phase;
    case 'stop':
      return MAY_STOP.includes(phase.name) ? { name: 'stopped' } : phase;
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

/**
 * @param {number} since
 * @param {EndReason} [after]
 * @returns {Phase}
 */
const searching = (since, after) => ({ name: 'searching', since, after, line: { name: 'asking' } });

/**
 * The time in line begins when the server has confirmed it, and again after it was lost.
 * @param {Extract<Phase, { name: 'searching' }>} phase
 * @param {Extract<Event, { type: 'line' }>} event
 * @returns {Phase}
 */
function inLine(phase, { line, at }) {
  if (JSON.stringify(line) === JSON.stringify(phase.line)) return phase;
  return { ...phase, line, since: line.name === 'waiting' ? at : phase.since };
}

/**
 * The line as the server last confirmed it.
 * @param {import('./client.js').Status} status
 * @param {import('./client.js').Confirmed} confirmed
 * @param {Extract<Line, { name: 'held' }> | null} held the last refusal, if no answer came since.
 * @param {string} queue as the visitor named it.
 * @returns {Line}
 */
export function lineOf(status, confirmed, held, queue) {
  if (status !== 'open') return { name: 'away' };
  if (held !== null) return held;
  return confirmed === 'waiting' ? { name: 'waiting', queue } : { name: 'asking' };
}
