/**
 * Which ICE servers a call uses: TURN credentials end, and those of a match end long before those of
 * its session. Pure.
 */

/** Time that credentials must still be good for, in seconds. */
const MARGIN_S = 60;

/**
 * When the TURN credentials end. Their user name begins with that time (draft-uberti-behave-turn-rest).
 * @param {RTCIceServer[]} servers
 * @returns {number} in seconds since 1970; Infinity without such credentials.
 */
function endOf(servers) {
  const ends = servers.map(({ username }) => Number(/^\d+/.exec(username ?? '')?.[0] ?? Infinity));
  return Math.min(Infinity, ...ends);
}

/**
 * @param {RTCIceServer[]} ofMatch preferred, because they were made for this call.
 * @param {RTCIceServer[]} ofSession
 * @param {number} nowS in seconds since 1970.
 * @returns {RTCIceServer[]} those of the match, or if these have ended and the others last longer, those.
 */
export function lastingServers(ofMatch, ofSession, nowS) {
  const end = endOf(ofMatch);
  return end > nowS + MARGIN_S || endOf(ofSession) <= end ? ofMatch : ofSession;
}

/**
 * Whether one of them is a relay.
 * @param {RTCIceServer[]} servers
 */
export function hasRelay(servers) {
  return servers.some(({ urls }) => [urls].flat().some((url) => /^turns?:/.test(url)));
}
