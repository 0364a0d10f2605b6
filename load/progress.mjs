import cliProgress from 'cli-progress';

/** A progress bar for people: on stderr, and only where that is a terminal. `step(note)` gives a function of (done, total). */
export function progressBar(isWanted = true) {
  if (!isWanted || process.stderr.isTTY !== true) return { step: () => () => {}, stop: () => {} };
  const bar = new cliProgress.SingleBar({
    format: '{note} [{bar}] {value}/{total}',
    stream: process.stderr,
    clearOnComplete: true,
  });
  return {
    step: (note) => (done, total) => {
      if (done === 0) bar.start(total, 0, { note });
      else bar.update(done);
    },
    stop: () => bar.stop(),
  };
}
