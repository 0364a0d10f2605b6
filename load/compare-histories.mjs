const RANGES_AT_A_TIME = 50;
/** A server's clock may be ahead. */
const YEAR = 366 * 86_400_000;

/** How many counters have another sum in their history than `expected`: a map from names to sums. */
export async function wrongHistories(client, expected) {
  let wrong = 0;
  const names = [...expected.keys()];
  for (let from = 0; from < names.length; from += RANGES_AT_A_TIME) {
    const some = names.slice(from, from + RANGES_AT_A_TIME);
    const ranges = await Promise.all(some.map((name) => client.range(name, { from: 0, to: Date.now() + YEAR })));
    wrong += ranges.filter(({ name, value }) => value !== expected.get(name)).length;
  }
  return wrong;
}

/** The same of all counters of a server that do not begin anew by themselves and were in their history from the first, against their values. */
export async function historiesUnlikeValues(client) {
  const values = new Map();
  for await (const { name, value } of client.list('')) if (!/^(brief|daily)/.test(name)) values.set(name, value);
  return wrongHistories(client, values);
}
