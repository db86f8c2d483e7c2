/** Whether the server does not serve its figures on this port. */
let unavailable = false;

/** @type {string[]} */
let counted = [];

/** The queues that the operator counts by name (`--stats-queue`), as last reported. */
export const countedQueues = () => counted;

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
    const { sessions, matchmaking } = await answer.json();
    counted = Object.keys(matchmaking?.waiting_by_queue ?? {}).filter((name) => name !== 'default');
    const users = sessions?.active;
    return Number.isFinite(users) ? users : null;
  } catch {
    return null;
  }
}
