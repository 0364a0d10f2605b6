import { expect, test } from 'vitest';
import { ManualClock } from '../support/manual-clock.js';

test('A manual clock fires timers in the order of their times, each at its own', () => {
  const clock = new ManualClock(1000);
  const fired: [string, number][] = [];
  const note = (name: string) => () => fired.push([name, clock.monotonicMilliseconds()]);
  clock.setTimer(20, note('b'));
  clock.setTimer(10, () => {
    note('a')();
    clock.setTimer(5, note('between'));
    clock.endOfTurn(note('turn'));
  });
  clock.setTimer(20, note('c'));
  clock.setTimer(15, note('cancelled')).cancel();
  clock.advance(19);
  clock.advance(1);
  expect(fired).toEqual([
    ['a', 10],
    ['turn', 10],
    ['between', 15],
    ['b', 20],
    ['c', 20],
  ]);
  expect([clock.wallMilliseconds(), clock.pendingTimers]).toEqual([1020, 0]);
  clock.stepWall(-3_600_000);
  expect([clock.wallMilliseconds(), clock.monotonicMilliseconds()]).toEqual([1020 - 3_600_000, 20]);
});

test('What is added at the end of a turn waits for the next one', () => {
  const clock = new ManualClock();
  const turns: number[] = [];
  clock.endOfTurn(() => {
    turns.push(1);
    clock.endOfTurn(() => turns.push(2));
  });
  clock.endTurn();
  expect(turns).toEqual([1]);
  clock.settle();
  expect([turns, clock.pendingCallbacks]).toEqual([[1, 2], 0]);
});

test('What comes after a turn is called behind its end, and what it adds to the end right behind it', () => {
  const clock = new ManualClock();
  const told: string[] = [];
  clock.afterTurn(() => {
    told.push('after');
    clock.endOfTurn(() => told.push('answered'));
  });
  clock.endOfTurn(() => {
    told.push('end');
    clock.endOfTurn(() => told.push('next end'));
  });
  clock.endTurn();
  expect(told).toEqual(['end', 'after', 'answered']);
  clock.settle();
  expect(told).toEqual(['end', 'after', 'answered', 'next end']);
});
