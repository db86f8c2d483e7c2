/**
 * Why no connection to the server can be opened. A browser tells a page only that an upgrade failed
 * (code 1006), so the page asks the server: `/health` first, then with OPTIONS whether an upgrade
 * would be granted.
 *
 * - `unreachable` nothing answers, or a proxy that does not reach the server
 * - `draining`    the server is about to restart
 * - `full`        it has no place for another connection
 * - `address`     too many connections come from the visitor's network address
 * - `origin`      it does not accept pages of this origin
 * - `no_websocket` it would grant an upgrade, but none arrives: something between changes it
 * @typedef {'unreachable' | 'draining' | 'full' | 'address' | 'origin' | 'no_websocket'} Obstacle
 *
 * @typedef {object} Answer
 * @property {number} status
 * @property {string} text
 * @property {number | null} retryAfterMs
 */

/** Time for each of the two questions. */
const ANSWER_MS = 8_000;
/** Failures in a row after which an upgrade that would be granted counts as blocked on the way. */
const BLOCKED_AFTER = 3;

/** The shortest wait before the next attempt. Asking again earlier has no other result. */
const WAIT_MS = /** @type {Record<Obstacle, number>} */ ({
  unreachable: 0,
  draining: 2_000,
  full: 5_000,
  address: 10_000,
  origin: 60_000,
  no_websocket: 15_000,
});

/**
 * @param {Answer | null} health the answer of `/health`; null, there was none.
 * @param {Answer | null} upgrade the answer about an upgrade.
 * @param {number} failures attempts that failed in a row.
 * @returns {Obstacle | null} null, nothing is known to be in the way.
 */
export function obstacleOf(health, upgrade, failures) {
  if (health === null) return 'unreachable';
  const known = refusal(health);
  if (known !== null) return known;
  if (health.status !== 200) return 'unreachable';
  if (upgrade === null) return null;
  if (upgrade.status === 403) return 'origin';
  if (upgrade.status === 200 && failures >= BLOCKED_AFTER) return 'no_websocket';
  return refusal(upgrade);
}

/**
 * @param {Answer} answer
 * @returns {Obstacle | null}
 */
function refusal({ status, text }) {
  // A server that counts addresses without a status of its own says so in its text.
  if (status === 429 || (status === 503 && /from this address/.test(text))) return 'address';
  if (status !== 503) return null;
  return /draining|shutting down/.test(text) ? 'draining' : /too many connections/.test(text) ? 'full' : 'unreachable';
}

/**
 * @param {string | URL} base of the page.
 * @param {number} failures
 * @returns {Promise<{ obstacle: Obstacle | null, waitMs: number }>} what is in the way, and for how
 *   long at least the next attempt is to be delayed.
 */
export async function findObstacle(base, failures) {
  const health = await ask(new URL('health', base), 'GET');
  const upgrade = health?.status === 200 ? await ask(new URL('ws', base), 'OPTIONS') : null;
  const obstacle = obstacleOf(health, upgrade, failures);
  if (obstacle === null) return { obstacle, waitMs: 0 };
  const retryAfterMs = upgrade?.retryAfterMs ?? health?.retryAfterMs ?? 0;
  return { obstacle, waitMs: Math.max(retryAfterMs, WAIT_MS[obstacle]) };
}

/**
 * @param {URL} url
 * @param {'GET' | 'OPTIONS'} method browsers send the page's origin with OPTIONS, but not with GET.
 * @returns {Promise<Answer | null>}
 */
async function ask(url, method) {
  try {
    const answer = await fetch(url, { method, cache: 'no-store', signal: AbortSignal.timeout(ANSWER_MS) });
    const seconds = Number(answer.headers.get('retry-after'));
    return {
      status: answer.status,
      text: await answer.text(),
      retryAfterMs: seconds > 0 ? seconds * 1000 : null,
    };
  } catch {
    return null;
  }
}
