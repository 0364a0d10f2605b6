const CONFIGURATION_BYTES = 64;

// src/kernel/layout.ts; a test holds the two together.
const HEADER = 0x600000;
const H_MAXIMUM_PAGES = HEADER + 20;
const H_MAXIMUM_PRODUCERS = HEADER + 192;
const H_PRODUCER_IDLE = HEADER + 216;
const H_OPERATION_LIFE = HEADER + 224;
const H_MAXIMUM_OPERATION_IDS = HEADER + 252;
const H_MAXIMUM_WINDOW_BYTES = HEADER + 296;

/** What a partition is told by the first body of its log, and what later ones may change (the limits). */
export interface PartitionConfiguration {
  readonly partition: number;
  readonly partitions: number;
  /** 16 bytes, the directory's secret: the key of the index hash. */
  readonly secret: Uint8Array;
  /** Pages of 64 KiB that the partition may take, at most 65,535. */
  readonly maximumPages: number;
  readonly maximumProducers: number;
  readonly maximumOperationIds: number;
  /** Idle time after which an anonymous producer goes. */
  readonly producerIdleMilliseconds: number;
  readonly operationIdMilliseconds: number;
  /** That windows may take; counters beyond them have none. */
  readonly windowBytes: number;
}

/** The body of a CONFIGURE, the first of a partition's log, which is drawn at `checkConfiguration` in src/kernel/kernel.ts. */
export function encodeConfiguration(configuration: PartitionConfiguration): Uint8Array {
  const body = new Uint8Array(CONFIGURATION_BYTES);
  const view = new DataView(body.buffer);
  view.setUint32(0, configuration.partition, true);
  view.setUint32(4, configuration.partitions, true);
  body.set(configuration.secret.subarray(0, 16), 8);
  view.setUint32(24, configuration.maximumPages, true);
  view.setUint32(28, configuration.maximumProducers, true);
  view.setUint32(32, configuration.maximumOperationIds, true);
  view.setBigInt64(40, BigInt(configuration.producerIdleMilliseconds), true);
  view.setBigInt64(48, BigInt(configuration.operationIdMilliseconds), true);
  view.setBigInt64(56, BigInt(configuration.windowBytes), true);
  return body;
}

/**
 * Whether a kernel has these limits.
 *
 * @param view of its memory from its start on
 */
export function hasLimits(view: DataView, configuration: PartitionConfiguration): boolean {
  return (
    view.getUint32(H_MAXIMUM_PAGES, true) === configuration.maximumPages &&
    view.getUint32(H_MAXIMUM_PRODUCERS, true) === configuration.maximumProducers &&
    view.getUint32(H_MAXIMUM_OPERATION_IDS, true) === configuration.maximumOperationIds &&
    view.getBigInt64(H_PRODUCER_IDLE, true) === BigInt(configuration.producerIdleMilliseconds) &&
    view.getBigInt64(H_OPERATION_LIFE, true) === BigInt(configuration.operationIdMilliseconds) &&
    view.getBigInt64(H_MAXIMUM_WINDOW_BYTES, true) === BigInt(configuration.windowBytes)
  );
}
