export const CLASSES: readonly object[];
