/**
 * Where a visitor is on the way from the door to a conversation and on to the next one: one
 * value, and one pure function from it and an event to the next. What has to be done when it
 * changes is app.js's; how it looks is view.js's.
 *
 * @typedef {'denied' | 'dismissed' | 'none' | 'busy' | 'other'} MicrophoneTrouble
 * @typedef {'left' | 'next' | 'disconnected' | 'timeout' | 'lost' | 'unreachable'
 *   | 'relay_refused' | 'relay_missing'} Parting
 *
 * How the two talking are tied together beside their audio:
 * - `whole`      signalling works on both sides
 * - `away`       the partner's signalling was lost and may come back
 * - `partner_gone` the partner's signalling is gone for good
 * - `own_gone`   this side came back as a new session: the two talk without signalling
 * @typedef {'whole' | 'away' | 'partner_gone' | 'own_gone'} Tie
 *
 * @typedef {{ name: 'blocked', why: 'insecure' | 'no_webrtc' }
 *   | { name: 'welcome' }
 *   | { name: 'asking' }
 *   | { name: 'mic_failed', why: MicrophoneTrouble }
 *   | { name: 'ready' }
 *   | { name: 'searching', since: number, after?: Parting }
 *   | { name: 'connecting', since: number }
 *   | { name: 'talking', since: number, tie: Tie, silent: boolean }
 *   | { name: 'parted', why: Parting }} Phase
 *
 * @typedef {{ type: 'ask' } | { type: 'mic_opened' }
 *   | { type: 'mic_failed', why: MicrophoneTrouble }
 *   | { type: 'search', at: number, after?: Parting } | { type: 'stop' }
 *   | { type: 'matched', at: number } | { type: 'audio', at: number }
 *   | { type: 'silence', silent: boolean } | { type: 'tie', tie: Tie }
 *   | { type: 'parted', why: Parting }} Event
 */

/** @type {Phase['name'][]} */
const IN_CALL = ['connecting', 'talking'];
/** @type {Phase['name'][]} */
const MAY_SEARCH = ['ready', 'connecting', 'talking', 'parted'];
/** @type {Phase['name'][]} */
const MAY_STOP = ['searching', 'connecting', 'talking', 'parted'];
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
 * @returns {Phase} `phase` itself where the event means nothing in it.
 */
export function advance(phase, event) {
  switch (event.type) {
    case 'ask':
      return MAY_ASK.includes(phase.name) ? { name: 'asking' } : phase;
    case 'mic_opened':
      return phase.name === 'asking' ? { name: 'ready' } : phase;
    case 'mic_failed':
      // Also in mid-call: someone without a microphone cannot go on.
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
        ? { name: 'talking', since: event.at, tie: 'whole', silent: false }
        : phase;
    case 'silence':
      return phase.name === 'talking' && phase.silent !== event.silent
        ? { ...phase, silent: event.silent }
        : phase;
    case 'tie':
      return phase.name === 'talking' && phase.tie !== event.tie
        ? { ...phase, tie: event.tie }
        : phase;
    case 'parted':
      return inCall(phase) ? { name: 'parted', why: event.why } : phase;
  }
}
