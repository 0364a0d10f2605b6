/**
 * (f) Dollars from what was measured and prices that are stated. They are examples, of the order that public clouds ask: put in your own.
 */
export const PRICES = {
  /** Of one core. */
  cpuHour: 0.04,
  /** Written to a network disk whose throughput is rented at $0.04 a month for each MB/s, and used to a tenth. */
  gigabyteWritten: 0.04 / (30 * 86_400 * 1e-3 * 0.1),
};

/** Dollars for a thousand million increments. */
export function dollarsPerBillion({ cpuSecondsPerMillion, bytesPerMillion }, prices = PRICES) {
  const cpu = ((cpuSecondsPerMillion * 1_000) / 3_600) * prices.cpuHour;
  const written = ((bytesPerMillion * 1_000) / 1e9) * prices.gigabyteWritten;
  return cpu + written;
}
