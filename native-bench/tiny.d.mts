export interface Work {
  readonly directory: string;
  readonly names: readonly string[];
  readonly picked: readonly number[];
}

export function runLayers(work: Work): Promise<Record<string, number>>;
export function runNativeLayers(work: Work): Promise<Record<string, number>>;
