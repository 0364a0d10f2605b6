export interface Stage {
  readonly base: string;
  readonly name: string;
  readonly instructions: readonly { readonly keyword: string; readonly rest: string }[];
}

export function parseDockerfile(text: string): Stage[];
export function valuesOf(stage: Stage, keyword: string): string[];
export function parseCopy(rest: string): { from: string | undefined; sources: string[]; target: string };
export function parseEnv(rest: string): Record<string, string>;
export function parseExec(rest: string): string[];
