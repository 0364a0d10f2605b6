/** What the client library exports besides `connect`, wherever it runs. */

export { type ErrorCode, type Outcome, TallystickError } from '../errors.js';
export type { StatsAnswer } from '../protocol/control.js';
export type { Seen } from '../protocol/uniques.js';
export type { BatchResult, CallOptions, FailedOperation, OperationResult } from './call.js';
export type { Client } from './client.js';
export type { ConnectOptions } from './connect.js';
export type { Counter } from './counter.js';
export type { Counters } from './counters.js';
export type { Expiry, ToldExpiry } from './expiry.js';
export { type FailedIncrement, FlushError } from './failures.js';
export type {
  FollowEvent,
  Following,
  FollowOptions,
  FollowRates,
  FollowUniques,
  FollowWindows,
  UniquesReading,
} from './following.js';
export type {
  HistoryPoint,
  PastValue,
  RangeOptions,
  RangeReading,
  Series,
  SeriesOptions,
} from './history.js';
export type { Instant } from './instant.js';
export type { ListedCounter, ListedPage, ListOptions, ListPageOptions } from './lister.js';
export { Position } from './position.js';
export type { Reading, ReadOptions } from './reader.js';
export type { Statistics } from './sender.js';
export type { CountedOnce, Item, OnceOptions, SeeOptions } from './sightings.js';
export type {
  Reset,
  SubscribeOptions,
  Subscription,
  SubscriptionEvent,
  SubscriptionHandler,
  Update,
} from './subscription.js';
export type { Telemetry } from './telemetry.js';
export type { Uniques, UniquesOptions } from './uniques.js';
export type { WindowOptions, WindowReading } from './windows.js';
export type {
  Ack,
  BatchOperation,
  BatchOptions,
  BatchToOptions,
  Deleted,
  DeleteOptions,
  IncrementOptions,
  OperationOptions,
  SetOptions,
} from './write-options.js';
