let kept = false;

/**
 * How many people are on the switchboard, as its `/stats` says.
 * @returns {Promise<number | null>} null, where it cannot be told.
 */
export async function peopleOnline() {
  if (kept) return null;
  try {
    const answer = await fetch('/stats', { signal: AbortSignal.timeout(5_000) });
    // The operator keeps the figures to a port of their own (--admin-listen): no use in asking again.
    kept = answer.status === 404;
    if (!answer.ok) return null;
    const people = (await answer.json()).sessions?.active;
    return Number.isFinite(people) ? people : null;
  } catch {
    return null;
  }
}
