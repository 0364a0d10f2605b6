/**
 * Holds what a reader was told, over all of its connections, against what was:
 *
 * - a value is what the counter had at the position of its frame,
 * - the deltas add up to it, from the value that was told first,
 * - what was told in full is all there was,
 * - and nothing was told that was not on the device by then.
 *
 * @throws Error what was told wrong
 */
export function checkHeard(heard, { follows, truth }) {
  const report = { frames: 0, told: 0, resets: 0, resumed: 0 };
  const followed = truth.names.filter(follows);
  const values = new Map();
  /** The values as of the last frame that told everything: where the reader goes on. */
  let whole = new Map();
  let isFirst = true;
  for (const each of heard) {
    if (each === 'again') {
      values.clear();
      for (const [name, value] of whole) values.set(name, value);
      isFirst = true;
      continue;
    }
    const { answer, flushed } = each;
    report.frames++;
    if (answer.position > flushed) throw new Error(`Position ${answer.position} was told, ${flushed} was flushed.`);
    if (answer.begins) {
      report.resets++;
      values.clear();
    } else if (isFirst) report.resumed++;
    isFirst = false;
    for (const told of answer.told) {
      report.told++;
      if (!follows(told.name)) throw new Error(`${told.name} is told, which nobody follows.`);
      if (truth.names.includes(told.name)) take(values, told, truth.at(answer.position, told.name), answer.position);
    }
    if (!answer.whole) continue;
    for (const name of followed) {
      const actual = truth.at(answer.position, name);
      if (values.get(name) !== actual)
        throw new Error(`At ${answer.position} ${name} was ${actual}, and told is ${values.get(name)}.`);
    }
    whole = new Map(values);
  }
  return report;
}

function take(values, told, actual, position) {
  const was = values.get(told.name) ?? 0n;
  const exists = 'value' in told;
  const value = 'delta' in told ? BigInt.asIntN(64, was + told.delta) : exists ? told.value : 0n;
  if (exists && told.value !== value)
    throw new Error(`${told.name} is ${told.value}, and ${was} and the delta come to ${value}.`);
  if (actual !== (exists ? value : undefined))
    throw new Error(`${told.name} is told as ${exists ? value : 'none'} at ${position}, and was ${actual}.`);
  if (exists) values.set(told.name, value);
  else values.delete(told.name);
}
