/** The calls into a kernel (src/kernel/kernel.ts); bodies and answers lie in its memory. */
export interface KernelExports {
  apply(
    kind: number,
    flags: number,
    producer: number,
    incarnation: number,
    milliseconds: number,
    length: number,
  ): number;
  judge(kind: number, flags: number, producer: number, incarnation: number, length: number): number;
  read(length: number): number;
  isDue(milliseconds: number): number;
  needsDays(milliseconds: number): number;
  expiries(length: number): number;
  list(length: number): number;
  window(length: number, milliseconds: number): number;
  uniques(length: number, milliseconds: number): number;
  history(length: number): number;
  lookUpProducer(): number;
  producerAt(producer: number): number;
  slotOfOperation(index: number): number;
  slotOfKey(index: number): number;
  lookAt(slot: number): number;
  readMarked(words: number, from: number): number;
  keepsDirty(): number;
  keepDirty(isWanted: number): void;
  sealDirty(): void;
  areClean(): number;
  classOf(slot: number, generation: number): number;
  nameOfSlot(slot: number): number;
  uniqueWindow(slot: number, index: number): number;
  onceItems(slot: number, from: number): number;
  stateBytes(): number;
  stateHash(): bigint;
  hashPages(first: number, count: number): bigint;
  growTo(pages: number): void;
}
