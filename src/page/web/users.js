/** Whether the server does not serve its figures on this port. */
let unavailable = false;

/**
 * The number of connected users, from `/stats`.
 * @returns {Promise<number | null>} null if unknown.
 */
export async function usersOnline() {
  if (unavailable) return null;
  try {
    const answer = await fetch('stats', { signal: AbortSignal.timeout(5_000) });
    // With --admin-listen the figures are on another port: do not ask again.
    unavailable = answer.status === 404;
    if (!answer.ok) return null;
    const users = (await answer.json()).sessions?.active;
    return Number.isFinite(users) ? users : null;
  } catch {
    return null;
  }
}
