/**
 * How many people are on the switchboard, as its `/stats` says.
 * @returns {Promise<number | null>} null, where it cannot be told.
 */
export async function peopleOnline() {
  try {
    const answer = await fetch('/stats', { signal: AbortSignal.timeout(5_000) });
    const people = (await answer.json()).sessions?.active;
    return Number.isFinite(people) ? people : null;
  } catch {
    return null;
  }
}
