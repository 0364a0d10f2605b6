import { expect, test } from 'vitest';
import { systemClock } from '../src/clock.js';

const turn = () => new Promise<void>((resolve) => setImmediate(resolve));

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

test('one that throws at the end of a turn keeps no other from being told, and is not swallowed', async () => {
  const others = process.listeners('uncaughtException');
  process.removeAllListeners('uncaughtException');
  const thrown: unknown[] = [];
  process.on('uncaughtException', (error) => thrown.push(error));
  const told: string[] = [];
  const [first, second] = [new Error('first'), new Error('second')];
  const fail = (error: Error) => () => {
    throw error;
  };
  systemClock.endOfTurn(() => told.push('a'));
  systemClock.endOfTurn(fail(first));
  systemClock.endOfTurn(() => told.push('b'));
  systemClock.endOfTurn(fail(second));
  for (let turns = 0; turns < 4; turns++) await turn();
  process.removeAllListeners('uncaughtException');
  for (const other of others) process.on('uncaughtException', other);
  expect([told, thrown]).toEqual([
    ['a', 'b'],
    [first, second],
  ]);
});
