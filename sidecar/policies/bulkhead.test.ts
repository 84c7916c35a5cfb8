import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Admission, Bulkhead, type BulkheadWaiter } from './bulkhead.ts';

class Waiter implements BulkheadWaiter {
  bulkheadPrevious: BulkheadWaiter | null = null;
  bulkheadNext: BulkheadWaiter | null = null;
  bulkheadQueued = false;
}

const limits = (maxConcurrent: number, maxQueued: number) => ({ maxConcurrent, maxQueued });

describe('Bulkhead', () => {
  it('grants, queues, and refuses when both are full', () => {
    const bulkhead = new Bulkhead(limits(2, 1));
    const admissions = [0, 1, 2, 3].map(() => bulkhead.acquire(new Waiter()));
    expect(admissions).toEqual([Admission.Granted, Admission.Granted, Admission.Queued, Admission.Full]);
    expect([bulkhead.inFlight, bulkhead.queued]).toEqual([2, 1]);
  });

  it('hands a freed slot to the head of the queue, so that no newcomer overtakes', () => {
    const bulkhead = new Bulkhead(limits(1, 2));
    const [holder, first, second, newcomer] = [new Waiter(), new Waiter(), new Waiter(), new Waiter()];
    bulkhead.acquire(holder);
    bulkhead.acquire(first);
    bulkhead.acquire(second);
    expect(bulkhead.first).toBe(first);
    expect(bulkhead.release()).toBe(first);
    expect(first.bulkheadQueued).toBe(false);
    expect(bulkhead.first).toBe(second);
    expect(bulkhead.inFlight).toBe(1);
    expect(bulkhead.acquire(newcomer)).toBe(Admission.Queued);
    expect(bulkhead.release()).toBe(second);
    expect(bulkhead.release()).toBe(newcomer);
    expect(bulkhead.first).toBeNull();
    expect(bulkhead.release()).toBeNull();
    expect([bulkhead.inFlight, bulkhead.queued]).toEqual([0, 0]);
  });

  it('gives a cancelled place back at once, at every position', () => {
    for (const cancelled of [0, 1, 2]) {
      const bulkhead = new Bulkhead(limits(1, 3));
      bulkhead.acquire(new Waiter());
      const waiters = [new Waiter(), new Waiter(), new Waiter()];
      for (const waiter of waiters) bulkhead.acquire(waiter);
      const gone = waiters[cancelled];
      if (gone !== undefined) bulkhead.cancel(gone);
      expect(bulkhead.queued).toBe(2);
      expect(bulkhead.acquire(new Waiter())).toBe(Admission.Queued);
      for (const waiter of waiters.filter((waiter) => waiter !== gone)) expect(bulkhead.release()).toBe(waiter);
    }
  });

  it('ignores the cancellation of who does not wait', () => {
    const bulkhead = new Bulkhead(limits(1, 1));
    const [holder, waiter] = [new Waiter(), new Waiter()];
    bulkhead.acquire(holder);
    bulkhead.cancel(holder);
    bulkhead.acquire(waiter);
    bulkhead.cancel(waiter);
    bulkhead.cancel(waiter);
    expect([bulkhead.inFlight, bulkhead.queued]).toEqual([1, 0]);
  });

  it('lets those who wait in when the limit is raised, before any newcomer', () => {
    const bulkhead = new Bulkhead(limits(1, 5));
    const waiters = [new Waiter(), new Waiter(), new Waiter()];
    bulkhead.acquire(new Waiter());
    for (const waiter of waiters) bulkhead.acquire(waiter);
    bulkhead.update(limits(3, 5));
    expect(bulkhead.acquire(new Waiter())).toBe(Admission.Queued);
    expect([bulkhead.takeGrantable(), bulkhead.takeGrantable(), bulkhead.takeGrantable()]).toEqual([
      waiters[0],
      waiters[1],
      null,
    ]);
    expect([bulkhead.inFlight, bulkhead.queued]).toEqual([3, 2]);
  });

  it('honours a lowered limit as slots come back, and throws nobody out', () => {
    const bulkhead = new Bulkhead(limits(3, 5));
    for (let count = 0; count < 3; count += 1) bulkhead.acquire(new Waiter());
    const waiter = new Waiter();
    bulkhead.acquire(waiter);
    bulkhead.update(limits(1, 0));
    expect(bulkhead.release()).toBeNull();
    expect(bulkhead.release()).toBeNull();
    expect([bulkhead.inFlight, bulkhead.queued]).toEqual([1, 1]);
    expect(bulkhead.acquire(new Waiter())).toBe(Admission.Full);
    expect(bulkhead.release()).toBe(waiter);
  });

  it('without a queue refuses at once', () => {
    const bulkhead = new Bulkhead(limits(1, 0));
    expect([bulkhead.acquire(new Waiter()), bulkhead.acquire(new Waiter())]).toEqual([
      Admission.Granted,
      Admission.Full,
    ]);
  });
});

interface Model {
  maxConcurrent: number;
  maxQueued: number;
  holders: Waiter[];
  queue: Waiter[];
}

/** The model is two arrays; every command compares all that can be seen. */
abstract class BulkheadCommand implements fc.Command<Model, Bulkhead> {
  readonly number: number;
  constructor(number: number) {
    this.number = number;
  }
  check(model: Readonly<Model>): boolean {
    return model.maxConcurrent > 0;
  }
  run(model: Model, bulkhead: Bulkhead): void {
    this.act(model, bulkhead);
    expect([bulkhead.inFlight, bulkhead.queued]).toEqual([model.holders.length, model.queue.length]);
    for (const waiter of model.holders) expect(waiter.bulkheadQueued).toBe(false);
    for (const waiter of model.queue) expect(waiter.bulkheadQueued).toBe(true);
  }
  abstract act(model: Model, bulkhead: Bulkhead): void;
  toString(): string {
    return `${this.constructor.name} ${this.number}`;
  }
}

function grantInModel(model: Model): Waiter | null {
  const next = model.holders.length < model.maxConcurrent ? model.queue.shift() : undefined;
  if (next !== undefined) model.holders.push(next);
  return next ?? null;
}

class Acquire extends BulkheadCommand {
  act(model: Model, bulkhead: Bulkhead): void {
    const waiter = new Waiter();
    const admission = bulkhead.acquire(waiter);
    if (model.holders.length < model.maxConcurrent && model.queue.length === 0) {
      expect(admission).toBe(Admission.Granted);
      model.holders.push(waiter);
    } else if (model.queue.length < model.maxQueued) {
      expect(admission).toBe(Admission.Queued);
      model.queue.push(waiter);
    } else {
      expect(admission).toBe(Admission.Full);
    }
  }
}

class TryAcquire extends BulkheadCommand {
  act(model: Model, bulkhead: Bulkhead): void {
    const isFree = model.holders.length < model.maxConcurrent && model.queue.length === 0;
    expect(bulkhead.tryAcquire()).toBe(isFree);
    if (isFree) model.holders.push(new Waiter());
  }
}

class Release extends BulkheadCommand {
  override check(model: Readonly<Model>): boolean {
    return model.holders.length > 0;
  }
  act(model: Model, bulkhead: Bulkhead): void {
    model.holders.splice(this.number % model.holders.length, 1);
    expect(bulkhead.release()).toBe(grantInModel(model));
  }
}

class Cancel extends BulkheadCommand {
  override check(model: Readonly<Model>): boolean {
    return model.queue.length > 0;
  }
  act(model: Model, bulkhead: Bulkhead): void {
    const [waiter] = model.queue.splice(this.number % model.queue.length, 1);
    if (waiter !== undefined) bulkhead.cancel(waiter);
  }
}

class Update extends BulkheadCommand {
  act(model: Model, bulkhead: Bulkhead): void {
    model.maxConcurrent = 1 + (this.number % 4);
    model.maxQueued = this.number % 5;
    bulkhead.update(limits(model.maxConcurrent, model.maxQueued));
    for (let waiter = grantInModel(model); waiter !== null; waiter = grantInModel(model))
      expect(bulkhead.takeGrantable()).toBe(waiter);
    expect(bulkhead.takeGrantable()).toBeNull();
  }
}

it('does as its model does', () => {
  const commands = [
    fc.nat().map((number) => new Acquire(number)),
    fc.nat().map((number) => new Acquire(number)),
    fc.nat().map((number) => new TryAcquire(number)),
    fc.nat().map((number) => new Release(number)),
    fc.nat().map((number) => new Cancel(number)),
    fc.nat().map((number) => new Update(number)),
  ];
  fc.assert(
    fc.property(fc.commands(commands, { maxCommands: 80, size: 'max' }), (run) => {
      fc.modelRun(
        () => ({ model: { maxConcurrent: 2, maxQueued: 3, holders: [], queue: [] }, real: new Bulkhead(limits(2, 3)) }),
        run,
      );
    }),
    { numRuns: 120 },
  );
});
