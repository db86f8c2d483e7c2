/**
 * How many people are on the switchboard, as its `/stats` says.
 * @returns {Promise<number | null>} null, where it cannot be told.
 */
export async function peopleOnline() {
  try {
    const answer = await fetch('/stats', { signal: AbortSignal.timeout(5_000) });
    const { connections } = await answer.json();
    const people = typeof connections === 'object' ? connections?.open : connections;
    return Number.isFinite(people) ? people : null;
  } catch {
    return null;
  }
}
