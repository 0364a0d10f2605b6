export type Tick = [value: number, text: string];

export interface Axis {
  readonly label: string;
  readonly ticks: readonly Tick[];
  readonly log?: boolean;
}

export function lineChart(
  title: string,
  axes: { readonly x: Axis; readonly y: Axis },
  series: readonly { readonly name: string; readonly points: readonly (readonly [x: number, y: number])[] }[],
): string;
export function powersOfTen(values: readonly number[], textOf: (value: number) => string): Tick[];
export function fromZero(values: readonly number[], textOf: (value: number) => string): Tick[];
