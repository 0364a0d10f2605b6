/** A stream of bytes to one client and back; what carries it is the business of its implementation. */
export interface Transport {
  /** Sends the bytes after those written before. They must not change until they are sent: where nothing is unsent they are the caller's again. */
  write(bytes: Uint8Array): void;
  /** Bytes that were written and that the system has not taken yet. */
  readonly unsentBytes: number;
  /** Stops reading until `resume`; what was read already may still come. */
  pause(): void;
  resume(): void;
  /** Sends what was written and then ends; the client may go on to send until it ends too. */
  close(): void;
  /** Ends at once; what was not sent is lost. */
  destroy(): void;
  /** The address of the client, for people. */
  readonly remote: string;
}

/** What a transport tells. It starts after the call that made the transport returned. */
export interface TransportHandler {
  /** The chunk is valid only during the call. */
  data(chunk: Uint8Array): void;
  /** All that was written is sent. */
  drain(): void;
  /** The last call, for every transport and once: nothing more goes in either direction. */
  closed(): void;
}

export interface ListenOptions {
  readonly host: string;
  /** 0 = any free port. */
  readonly port: number;
  /** Connections beyond it are closed as they come. */
  readonly maxConnections: number;
  /** Called for each new connection. */
  readonly accept: (transport: Transport) => TransportHandler;
}

export interface Listener {
  readonly host: string;
  /** The port that is really listened on. */
  readonly port: number;
  /** Stops listening at once; settles when the last connection, which is not closed by this, has ended. */
  close(): Promise<void>;
}
