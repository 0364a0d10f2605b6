import { expect, test } from 'vitest';
import { systemClock } from '../src/clock.js';

const turn = () => new Promise<void>((resolve) => setImmediate(resolve));

/** What nobody catches within some turns. */
async function thrownMeanwhile(): Promise<unknown[]> {
  const others = process.listeners('uncaughtException');
  process.removeAllListeners('uncaughtException');
  const thrown: unknown[] = [];
  process.on('uncaughtException', (error) => thrown.push(error));
  for (let turns = 0; turns < 4; turns++) await turn();
  process.removeAllListeners('uncaughtException');
  for (const other of others) process.on('uncaughtException', other);
  return thrown;
}

test('the end of a turn is told in the order of the calls, and what is called there comes with the next one', async () => {
  const told: string[] = [];
  systemClock.endOfTurn(() => {
    told.push('a');
    systemClock.endOfTurn(() => told.push('c'));
  });
  systemClock.endOfTurn(() => told.push('b'));
  expect(told).toEqual([]);
  await turn();
  expect(told).toEqual(['a', 'b']);
  await turn();
  expect(told).toEqual(['a', 'b', 'c']);
});

test('what comes after a turn is called behind its end, and what it adds to the end right behind it', async () => {
  const told: string[] = [];
  systemClock.afterTurn(() => {
    told.push('after');
    systemClock.endOfTurn(() => {
      told.push('answered');
      systemClock.endOfTurn(() => told.push('next turn'));
    });
    systemClock.afterTurn(() => told.push('after the next turn'));
  });
  systemClock.endOfTurn(() => {
    told.push('end');
    systemClock.endOfTurn(() => told.push('next end'));
    systemClock.afterTurn(() => told.push('after, too'));
  });
  await turn();
  expect(told).toEqual(['end', 'after', 'after, too', 'answered']);
  told.length = 0;
  await turn();
  expect(told).toEqual(['next end', 'next turn', 'after the next turn']);
});

test('one that throws after a turn keeps no end of a turn from being told', async () => {
  const told: string[] = [];
  systemClock.endOfTurn(() => {
    told.push('end');
    systemClock.endOfTurn(() => told.push('next end'));
  });
  systemClock.afterTurn(() => {
    throw new Error('thrown');
  });
  systemClock.afterTurn(() => told.push('after'));
  const thrown = await thrownMeanwhile();
  expect(told.sort()).toEqual(['after', 'end', 'next end']);
  expect(thrown.length).toBe(1);
});

test('one that throws at the end of a turn keeps no other from being told, and is not swallowed', async () => {
  const told: string[] = [];
  const [first, second] = [new Error('first'), new Error('second')];
  const fail = (error: Error) => () => {
    throw error;
  };
  systemClock.endOfTurn(() => told.push('a'));
  systemClock.endOfTurn(fail(first));
  systemClock.endOfTurn(() => told.push('b'));
  systemClock.endOfTurn(fail(second));
  const thrown = await thrownMeanwhile();
  expect([told, thrown]).toEqual([
    ['a', 'b'],
    [first, second],
  ]);
});
