const CONFIGURATION_BYTES = 64;

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
