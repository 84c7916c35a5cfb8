// Scripts against a target, several at a time, each on connections of its own. Meanwhile, on others, applications that mean well are served. What is
// promised: the process lives; a caller that means well gets each of its requests ended, and one whose dependency means well gets its answers; neither
// is sent what is no HTTP/2; and afterwards nothing is taken.
import type { Declared } from './data-path.ts';
import { GoodApplication, GoodDependency, HostileDependency, playApplication } from './peers.ts';
import type { Script } from './script.ts';
import type { StartTarget, Target } from './target.ts';

const CANARIES = ['good', 'other'] as const;
const ASK = { method: 'GET', bytes: 0, last: 'end' } as const;

interface Lane {
  dependency: HostileDependency;
  name: string;
  port: number;
}

/** Scripts at a time, where there are many. */
export const LANES = 16;

export class Arena {
  readonly target: Target;
  readonly #good: readonly GoodDependency[];
  readonly #hostile: readonly Lane[];
  readonly #canaries: readonly GoodApplication[];

  private constructor(target: Target, good: readonly GoodDependency[], hostile: readonly Lane[]) {
    this.target = target;
    this.#good = good;
    this.#hostile = hostile;
    this.#canaries = CANARIES.map((name) => new GoodApplication(target.ports[name] ?? 0));
  }

  /** `lanes`: scripts at a time. To be closed. */
  static async open(start: StartTarget, lanes: number): Promise<Arena> {
    const good = CANARIES.map(() => new GoodDependency());
    const declared: Declared[] = [];
    for (const [index, each] of good.entries())
      declared.push({ name: CANARIES[index] ?? '', port: await each.listen(), hurried: false });
    const hostile: Lane[] = [];
    for (let lane = 0; lane < lanes; lane++) {
      const dependency = new HostileDependency();
      hostile.push({ dependency, name: `hostile-${lane}`, port: await dependency.listen() });
    }
    declared.push(...hostile.map(({ name, port }) => ({ name, port, hurried: true })));
    return new Arena(await start(declared), good, hostile);
  }

  /** What was promised and not kept; as many scripts as there are lanes, or fewer. */
  async round(scripts: readonly Script[]): Promise<string[]> {
    const state = { over: false };
    const playing = Promise.all(scripts.map((script, lane) => this.#play(script, lane))).finally(() => {
      state.over = true;
    });
    const serving = this.#canaries.map(async (canary, index) => {
      do {
        const status = await canary.call('/answer', ASK);
        if (status !== 200) return [`${CANARIES[index]}: somebody else is answered ${status}`];
      } while (!state.over);
      return [];
    });
    const broken = (await Promise.all([playing, ...serving])).flat(2);
    for (const { dependency } of this.#hostile) dependency.cut();
    const ports = this.#hostile.map(({ port }) => port);
    await this.target.untilIdle(CANARIES.length, ports).catch((error: Error) => broken.push(error.message));
    for (const { wrong } of [...this.#good, ...this.#canaries]) broken.push(...wrong.splice(0));
    // All else follows from that.
    const { death } = this.target;
    return death === null ? broken : [death];
  }

  async #play({ calls, application, dependency }: Script, lane: number): Promise<string[]> {
    const hostile = this.#hostile[lane];
    if (hostile === undefined) throw new Error('there are more scripts than lanes');
    if (dependency !== null) hostile.dependency.steps = dependency;
    const port = this.target.ports[dependency === null ? 'good' : hostile.name] ?? 0;
    if (application !== null) {
      await playApplication(port, application);
      return [];
    }
    const caller = new GoodApplication(port);
    const statuses = await Promise.all(calls.map((call) => caller.call('/', call)));
    const broken = statuses.flatMap((status, nth) => (status === null ? [`call ${nth} does not end`] : []));
    caller.close();
    return [...broken, ...caller.wrong];
  }

  async close(): Promise<void> {
    for (const canary of this.#canaries) canary.close();
    for (const { dependency } of this.#hostile) dependency.close();
    await this.target.stop();
    for (const each of this.#good) each.close();
  }
}

/** To be closed. */
export const openArena = (start: StartTarget): Promise<Arena> => Arena.open(start, LANES);
