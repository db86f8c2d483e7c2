/**
 * Decides when a call needs an ICE restart and when it has ended. Pure.
 *
 * `disconnected` alone never ends a call: the browser reports it after a short time without
 * responses, and most calls recover. Received audio outweighs every connection state.
 *
 * @typedef {object} CallState
 * @property {RTCPeerConnectionState} state
 * @property {number} ageMs since the two were matched.
 * @property {number | null} audioMs since audio was last received; null, none was received.
 * @property {number} restartMs since the last ICE restart, or since the call began.
 * @property {boolean} unanswered whether this side waits for the answer to an offer.
 * @property {boolean} signalled whether signalling can carry an ICE restart to the partner.
 *
 * @typedef {'wait' | 'restart' | 'give_up'} Advice
 */

/** Audio received within this time counts as flowing. */
export const FLOWING_MS = 3_000;
/** A call that has no audio after this time is ended. */
export const BEGIN_MS = 25_000;
/** Time between two ICE restarts. */
const RESTART_MS = 6_000;
/** Silence on a broken connection after which a call ends, while signalling works. */
const REPAIR_MS = 30_000;
/** The same, while signalling does not work, so that no restart is possible. */
const ALONE_MS = 8_000;

/**
 * @param {CallState} call
 * @returns {Advice}
 */
export function advise({ state, ageMs, audioMs, restartMs, signalled, unanswered }) {
  if (audioMs === null && ageMs > BEGIN_MS) return 'give_up';
  if (audioMs !== null && audioMs < FLOWING_MS) return 'wait';
  // The offer or its answer was lost on the way.
  if (unanswered && signalled && restartMs > RESTART_MS) return 'restart';
  const broken = state === 'failed' || state === 'disconnected';
  if (!broken) return 'wait';
  if (!signalled) return state === 'failed' || (audioMs ?? ageMs) > ALONE_MS ? 'give_up' : 'wait';
  if (audioMs !== null && audioMs > REPAIR_MS) return 'give_up';
  return restartMs > RESTART_MS || (state === 'failed' && restartMs > RESTART_MS / 2)
    ? 'restart'
    : 'wait';
}
