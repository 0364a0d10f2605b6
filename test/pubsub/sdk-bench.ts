import type { Client } from '../../src/client/client.js';
import { type ConnectOptions, connectIn } from '../../src/client/connect.js';
import type { Subscription, SubscriptionEvent } from '../../src/client/subscription.js';
import type { CounterClass } from '../../src/partition/classes.js';
import { type Pipe, World } from './world.js';

/** The SDK over whole lanes in memory. */
export class Bench {
  readonly world: World;
  readonly pipes: Pipe[] = [];
  client!: Client;
  #producers = 0;

  constructor(world: World) {
    this.world = world;
  }

  static async start(
    options: ConnectOptions = {},
    classes: readonly CounterClass[] = [],
    isLogKept = true,
  ): Promise<Bench> {
    const bench = new Bench(await World.start(classes, isLogKept));
    bench.client = await bench.connect(options);
    return bench;
  }

  async connect(options: ConnectOptions = {}): Promise<Client> {
    const { clock } = this.world;
    const transport = {
      open: (address: { readonly port: number }, events: Parameters<World['open']>[1]) => {
        const pipe = this.world.open(address, events);
        this.pipes.push(pipe);
        return pipe.client;
      },
    };
    const randomBytes = (count: number) => new Uint8Array(count).fill(++this.#producers);
    return this.until(connectIn({ clock, random: () => 0.1, randomBytes, transport }, 'tallystick://h:1', options));
  }

  async until<T>(promise: Promise<T>): Promise<T> {
    let isOver = false;
    const over = () => {
      isOver = true;
    };
    promise.then(over, over);
    for (let i = 0; !isOver && i < 1_000; i++) await this.world.pass(2);
    return promise;
  }

  /** So many events, in short. */
  async read(subscription: Subscription<bigint>, count: number): Promise<string[]> {
    const events: string[] = [];
    for (let i = 0; i < count; i++) {
      const { value } = await this.until(subscription.next());
      events.push(value ? inShort(value) : 'end');
    }
    return events;
  }

  async crash(): Promise<void> {
    this.world.crash(() => true);
    await this.world.pass(5);
    await this.world.recover();
  }
}

/** An event in a few characters. */
export function inShort(event: SubscriptionEvent<bigint>): string {
  if (event.kind === 'reset') return `reset ${event.partition}`;
  const { name, value, delta, exists } = event;
  if (!exists) return `${name} none ${delta}`;
  return event.kind === 'value' ? `${name}=${value}` : `${name}=${value}(${delta})`;
}
