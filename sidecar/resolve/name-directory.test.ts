import { describe, expect, it } from 'vitest';
import { silentLogger } from '../../runtime/log.ts';
import { ManualClock, settle } from '../../runtime/manual-clock.ts';
import { NameDirectory } from './name-directory.ts';
import type { DnsAnswer } from './name-state.ts';

const found = (...addresses: string[]): DnsAnswer => ({ kind: 'addresses', addresses, ttlMs: 30_000 });
const failed: DnsAnswer = { kind: 'failure', detail: 'SERVFAIL' };

interface Question {
  name: string;
  answer: (answer: DnsAnswer) => Promise<void>;
}

function start() {
  const clock = new ManualClock();
  const asked: Question[] = [];
  const changed: string[] = [];
  const counted: string[] = [];
  const directory = new NameDirectory({
    query: (name) =>
      new Promise((resolve) => {
        asked.push({
          name,
          answer: (answer) => {
            resolve(answer);
            return settle();
          },
        });
      }),
    clock,
    random: () => 0,
    log: silentLogger,
    countResolution: (result) => counted.push(result),
  });
  directory.onChange((name) => changed.push(name));
  const next = (): Question => asked.shift() ?? expect.fail('nothing was asked');
  return { clock, directory, asked, changed, counted, next };
}

describe('a watched name', () => {
  it('is asked for at once, and again when its TTL is over', async () => {
    const { clock, directory, asked, changed, counted, next } = start();
    directory.watch(new Set(['a']));
    await next().answer(found('10.0.0.1'));
    expect(directory.addresses('a')).toEqual(['10.0.0.1']);
    await clock.advance(29_999);
    expect(asked).toEqual([]);
    await clock.advance(1);
    await next().answer(found('10.0.0.1'));
    expect(changed).toEqual(['a']);
    await clock.advance(30_000);
    await next().answer(found('10.0.0.2'));
    expect(changed).toEqual(['a', 'a']);
    expect(counted).toEqual(['addresses', 'addresses', 'addresses']);
  });

  it('keeps its last addresses and says what is wrong while DNS fails', async () => {
    const { clock, directory, next } = start();
    directory.watch(new Set(['a']));
    await next().answer(found('10.0.0.1'));
    await clock.advance(30_000);
    await next().answer(failed);
    expect(directory.view()).toEqual([{ name: 'a', addresses: ['10.0.0.1'], ageMs: 30_000, problem: 'SERVFAIL' }]);
  });

  it('that is no longer watched is forgotten, even with its answer on the way', async () => {
    const { clock, directory, asked, changed, next } = start();
    directory.watch(new Set(['a', 'b']));
    const late = next();
    await next().answer(found('10.0.0.2'));
    directory.watch(new Set());
    await late.answer(found('10.0.0.1'));
    await clock.advance(600_000);
    expect([directory.view(), asked, changed, clock.timers]).toEqual([[], [], ['b'], 0]);
  });

  it('waits for its turn where there are many', async () => {
    const { directory, asked } = start();
    directory.watch(new Set(Array.from({ length: 40 }, (_, i) => `host-${i}`)));
    expect(asked).toHaveLength(16);
    for (const { answer } of asked.slice()) await answer(failed);
    expect(asked).toHaveLength(32);
  });
});

describe('find', () => {
  it('waits for the first answer, whatever it is', async () => {
    const { directory, next } = start();
    directory.watch(new Set(['a', 'b']));
    const both = Promise.all([directory.find('a'), directory.find('b')]);
    await next().answer(found('10.0.0.1'));
    await next().answer(failed);
    expect(await both).toEqual([['10.0.0.1'], []]);
  });

  it('does not wait for a name that is no longer watched', async () => {
    const { directory } = start();
    directory.watch(new Set(['a']));
    const found = directory.find('a');
    directory.close();
    expect(await found).toEqual([]);
  });

  it('asks for a name that nobody watches, once for all who want it at a time', async () => {
    const { clock, directory, asked, next } = start();
    const answers = Promise.all([directory.find('other'), directory.find('other')]);
    await next().answer(found('10.0.0.3'));
    expect(await answers).toEqual([['10.0.0.3'], ['10.0.0.3']]);
    expect(await directory.find('other')).toEqual(['10.0.0.3']);
    expect([directory.view(), asked]).toEqual([[], []]);
    await clock.advance(1_000);
    const again = directory.find('other');
    await next().answer(failed);
    expect(await again).toEqual([]);
  });
});
