/**
 * When a call needs repair and when it is over. Pure: it is told what is, and says what to do.
 *
 * `disconnected` alone never ends a call: it is a guess of the browser's that a moment without
 * answers means something, and mostly it heals. Audio that flows outweighs every state.
 *
 * @typedef {object} Vitals
 * @property {RTCPeerConnectionState} state
 * @property {number} ageMs since the two were matched.
 * @property {number | null} audioMs since audio last came in; null, it never did.
 * @property {number} restartMs since the last ICE restart, or since the call began.
 * @property {boolean} signalled whether a restart could reach the partner at all.
 *
 * @typedef {'wait' | 'restart' | 'give_up'} Advice
 */

/** Audio that came within this time is flowing. */
export const FLOWING_MS = 3_000;
/** A call that has not begun after this time will not. */
export const BEGIN_MS = 25_000;
/** An ICE restart gets this long before the next. */
const RESTART_MS = 6_000;
/** Silence on a broken connection that ends the call while it can be repaired... */
const REPAIR_MS = 30_000;
/** ... and while nobody could be told of a repair. */
const ALONE_MS = 8_000;

/**
 * @param {Vitals} vitals
 * @returns {Advice}
 */
export function advise({ state, ageMs, audioMs, restartMs, signalled }) {
  if (audioMs === null && ageMs > BEGIN_MS) return 'give_up';
  if (audioMs !== null && audioMs < FLOWING_MS) return 'wait';
  const broken = state === 'failed' || state === 'disconnected';
  if (!broken) return 'wait';
  if (!signalled) return state === 'failed' || (audioMs ?? ageMs) > ALONE_MS ? 'give_up' : 'wait';
  if (audioMs !== null && audioMs > REPAIR_MS) return 'give_up';
  return restartMs > RESTART_MS || (state === 'failed' && restartMs > RESTART_MS / 2)
    ? 'restart'
    : 'wait';
}
