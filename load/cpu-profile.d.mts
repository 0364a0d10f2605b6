export interface CpuProfile {
  readonly startTime: number;
  readonly samples: readonly number[];
  /** Microseconds since the sample before. */
  readonly timeDeltas: readonly number[];
  readonly nodes: readonly {
    readonly id: number;
    readonly children?: readonly number[];
    readonly callFrame: { readonly functionName: string; readonly url: string; readonly lineNumber: number };
  }[];
}

export function cpuProfileShares(
  profiles: readonly CpuProfile[],
  window: { readonly from: number; readonly to: number },
): { readonly layers: ReadonlyMap<string, number>; readonly functions: ReadonlyMap<string, number> };
