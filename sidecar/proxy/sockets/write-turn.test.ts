// When what a turn gathers is written.
import { expect, it } from 'vitest';
import { beginTurn, endTurn, type Writer, writeAtEndOfTurn } from './write-turn.ts';

const written: string[] = [];
const writer = (name: string, also?: () => void): Writer => ({
  writeOut: () => {
    written.push(name);
    also?.();
  },
});
const nextTick = () => new Promise<void>((resolve) => process.nextTick(resolve));
const taken = () => written.splice(0);

it('is its end, in the order in which writers came, and that of the outermost', () => {
  beginTurn();
  writeAtEndOfTurn(writer('a'));
  beginTurn();
  writeAtEndOfTurn(writer('b'));
  endTurn();
  expect(taken()).toEqual([]);
  endTurn();
  expect(taken()).toEqual(['a', 'b']);
});

it('is before the event loop goes on, outside of any', async () => {
  writeAtEndOfTurn(writer('a'));
  writeAtEndOfTurn(writer('b'));
  expect(taken()).toEqual([]);
  await nextTick();
  expect(taken()).toEqual(['a', 'b']);
});

it('is the end of a turn that comes first, and then not again', async () => {
  writeAtEndOfTurn(writer('a'));
  beginTurn();
  endTurn();
  expect(taken()).toEqual(['a']);
  await nextTick();
  expect(taken()).toEqual([]);
});

it('is the same end for what is said while others write', async () => {
  const late = writer('late');
  beginTurn();
  writeAtEndOfTurn(writer('a', () => writeAtEndOfTurn(late)));
  endTurn();
  expect(taken()).toEqual(['a', 'late']);
  await nextTick();
  expect(taken()).toEqual([]);
  writeAtEndOfTurn(writer('b'));
  await nextTick();
  expect(taken()).toEqual(['b']);
});
