/** The instructions of a Dockerfile, as far as ours needs it: no heredocs, no parser directives, no variables in COPY. */

/** Stages in their order, each with its base image, its name and its other instructions. */
export function parseDockerfile(text) {
  const logical = text
    .split('\n')
    .filter((line) => !/^\s*#/.test(line))
    .join('\n')
    .replace(/\\\n/g, ' ');
  const stages = [];
  for (const line of logical.split('\n')) {
    const [, keyword, rest] = /^\s*([A-Za-z]+)\s+(.*?)\s*$/.exec(line) ?? [];
    if (keyword === undefined) continue;
    if (keyword === 'FROM') {
      const [base, , name = String(stages.length)] = rest.split(/\s+/);
      stages.push({ base, name, instructions: [] });
    } else {
      stages.at(-1).instructions.push({ keyword, rest });
    }
  }
  return stages;
}

/** The values of all instructions of a kind. */
export const valuesOf = (stage, keyword) =>
  stage.instructions.filter((instruction) => instruction.keyword === keyword).map(({ rest }) => rest);

/** `COPY [--from=stage] sources… target`. */
export function parseCopy(rest) {
  const words = rest.split(/\s+/);
  const from = words[0].startsWith('--from=') ? words.shift().slice('--from='.length) : undefined;
  return { from, sources: words.slice(0, -1), target: words.at(-1) };
}

/** `ENV name=value …`, of values without blanks. */
export const parseEnv = (rest) => Object.fromEntries(rest.split(/\s+/).map((word) => word.split(/=(.*)/).slice(0, 2)));

/** The words of an ENTRYPOINT or CMD in its JSON form. */
export const parseExec = (rest) => JSON.parse(rest);
