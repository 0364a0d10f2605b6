export interface Patch {
  readonly name: string;
  readonly bug: string;
  readonly promise: string;
  readonly red: string;
  readonly file: string;
  readonly hunks: readonly { readonly before: string; readonly after: string }[];
}

export function readPatches(): Patch[];
export function applyPatch(patch: Patch, text: string): string;
