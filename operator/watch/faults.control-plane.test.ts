// An operator, from its watches to what it publishes, before a real API server with a proxy in between that does what goes wrong. Whatever
// it does: when it is over, the operator holds what the API server holds; meanwhile it asks no more than it should, and at no moment
// publishes a dependency without endpoints that has some.
// Another mixture by hand: SEED=7 npm test -- operator/watch/faults; more of them: SEEDS=100.
import { setTimeout as sleep } from 'node:timers/promises';
import { isDeepStrictEqual } from 'node:util';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { z } from 'zod';
import { systemClock as clock } from '../../runtime/clock.ts';
import { readEnvironment } from '../../runtime/environment.ts';
import { silentLogger } from '../../runtime/log.ts';
import { type Random, seededRandom } from '../../runtime/random.ts';
import { type ControlPlane, startControlPlane } from '../../test/harness/control-plane.ts';
import { type Asked, type Connections, type Fault, FaultProxy, type Rule } from '../../test/harness/fault-proxy.ts';
import type { Damage } from '../../test/harness/watch-damage.ts';
import { INJECTION_DEFAULTS } from '../compile/capture.ts';
import { compile } from '../compile/compile.ts';
import type { CompileResult } from '../compile/result.ts';
import { emptyWorkload } from '../compile/workloads.ts';
import type { World } from '../compile/world.ts';
import { createOperatorMetrics } from '../metrics.ts';
import { Reconciler } from '../reconcile/reconciler.ts';
import { ApiClient } from './api-client.ts';
import { ChangingShop, CLUSTER_DOMAIN, sorted } from './changing-shop.ts';
import { ClusterSource } from './cluster.ts';
import { loadKubeConfig } from './kube-config.ts';
import { DEFAULT_TIMINGS, type ReflectorTimings } from './reflector.ts';

const { SEED, SEEDS } = readEnvironment(
  z.object({ SEED: z.coerce.number().int().min(1).optional(), SEEDS: z.coerce.number().int().min(1).default(4) }),
);
/** Operators before the same API server. */
const AT_A_TIME = 14;
/** Those that open their watches anew all the time cost more. */
const MIXED_AT_A_TIME = 4;
/** Of the shop while a fault is on. */
const CHANGES = 20;

/** The waits of an operator, a hundred times shorter; its time limits, ten times. */
const HASTY: ReflectorTimings = {
  ...DEFAULT_TIMINGS,
  backoff: { initialMs: 20, maxMs: 250, resetAfterMs: 2_000 },
  notThereYetMaxMs: 200,
  listTimeoutMs: 6_000,
  watchHeadTimeoutMs: 6_000,
  veryShortMs: 50,
};
/** Silence is found within 2 s. To the others it lasts as long as to an operator, so that nothing but their own remedy helps them. */
const LISTENING: ReflectorTimings = {
  ...HASTY,
  listTimeoutMs: 2_000,
  watchHeadTimeoutMs: 2_000,
  watchSilenceMs: 2_000,
};
/**
 * After the end of the faults: the longest silence, wait and list, and all that a machine may be busy with besides. With the timings of an
 * operator these are 150 s, 30 s (120 where a Retry-After asks for it) and as long as the list takes.
 */
const CONVERGED_WITHIN_MS = 40_000;
/** Of one resource in so many milliseconds of faults: what the waits between attempts allow, and a watch and a list before and after. */
const budget = (durationMs: number) => 8 + durationMs / (HASTY.backoff.maxMs / 2);
const RESOURCES = 6;

let plane: ControlPlane;
let direct: ApiClient;
let shop: ChangingShop;

beforeAll(async () => {
  plane = await startControlPlane();
  direct = new ApiClient({ kubeConfig: loadKubeConfig(plane.kubeconfigPath), clock, random: Math.random });
  await plane.kubectl(['apply', '--server-side', '-f', `${import.meta.dirname}/../../crds/manifests`]);
  await plane.kubectl(['wait', '--for=condition=Established', 'crd', '--all', '--timeout=30s']);
  shop = new ChangingShop(direct, seededRandom(SEED ?? 1), 'shop');
  await shop.open();
});

afterAll(async () => {
  await direct?.close();
  await plane?.stop();
});

/** What of an operator stands between the API server and the sidecars, behind a proxy of its own. */
class Operator {
  readonly proxy: FaultProxy;
  readonly metrics = createOperatorMetrics();
  published: CompileResult | undefined;
  publications = 0;
  /** Publications that lacked endpoints that exist. */
  emptied = 0;
  readonly #api: ApiClient;
  readonly source: ClusterSource;
  readonly #reconciler: Reconciler;

  constructor(proxy: FaultProxy, random: Random, timings: ReflectorTimings) {
    this.proxy = proxy;
    const kubeConfig = loadKubeConfig(plane.kubeconfigPath);
    kubeConfig.clusters = kubeConfig.clusters.map((cluster) => ({ ...cluster, server: proxy.url }));
    this.#api = new ApiClient({ kubeConfig, clock, random });
    const tools = { clock, log: silentLogger, metrics: this.metrics };
    this.source = new ClusterSource({
      api: this.#api,
      clusterDomain: CLUSTER_DOMAIN,
      systemNamespace: 'breakwater-system',
      injection: INJECTION_DEFAULTS,
      random,
      timings,
      ...tools,
    });
    this.#reconciler = new Reconciler({
      ...tools,
      source: this.source,
      compile,
      publish: (result) => this.#publish(result),
      emptyWorkload,
      onResult: () => undefined,
    });
  }

  static async create(random: Random, timings: ReflectorTimings): Promise<Operator> {
    const { serverUrl, caFile, keyFile } = plane;
    const proxy = new FaultProxy({ upstreamUrl: serverUrl, certificateFile: caFile, keyFile, random });
    await proxy.start();
    return new Operator(proxy, random, timings);
  }

  start(): void {
    this.#reconciler.start();
    this.source.start({ onWorld: () => this.#reconciler.worldChanged(), onStatus: () => undefined });
  }

  async stop(): Promise<void> {
    await this.source.stop();
    await this.#reconciler.stop();
    await this.#api.close();
    await this.proxy.stop();
  }

  holds({ world, result }: Truth): boolean {
    const mine = sorted(this.source.world());
    return isDeepStrictEqual(mine, world) && isDeepStrictEqual(outcome(this.published), result);
  }

  /** Throws what differs. */
  mustHold({ world, result }: Truth): void {
    expect(sorted(this.source.world())).toEqual(world);
    expect(outcome(this.published)).toEqual(result);
  }

  #publish(result: CompileResult): void {
    this.published = result;
    this.publications += 1;
    const dependencies = result.workloads.flatMap(({ plan }) => plan.dependencies);
    const steady = dependencies.find(({ id }) => id === shop.steady);
    const endpoints = steady === undefined ? [] : (result.endpointSets.get(steady.endpointsKey)?.endpoints ?? []);
    if (endpoints.length === 0) this.emptied += 1;
  }
}

interface Truth {
  world: World;
  result: object;
}

async function truthNow(): Promise<Truth> {
  const world = sorted(await shop.truth());
  return { world, result: outcome(compile(world)) };
}

/** Waits until every operator holds, and has published, what the API server holds; gives what still differs after the bound, by index. */
async function convergence(operators: readonly Operator[]): Promise<ReadonlyMap<number, Error>> {
  const deadlineMs = clock.monotonicMs() + CONVERGED_WITHIN_MS;
  let waiting = [...operators.entries()];
  for (;;) {
    const truth = await truthNow();
    waiting = waiting.filter(([, operator]) => !operator.holds(truth));
    if (waiting.length === 0) return new Map();
    if (clock.monotonicMs() > deadlineMs)
      return new Map(waiting.map(([index, one]) => [index, difference(one, truth)]));
    await sleep(100);
  }
}

function difference(operator: Operator, truth: Truth): Error {
  try {
    operator.mustHold(truth);
  } catch (error) {
    if (error instanceof Error) return error;
  }
  return new Error('it does not hold what the API server holds');
}

function outcome(result: CompileResult | undefined): object {
  return { workloads: result?.workloads, endpointSets: result?.endpointSets, problems: result?.problems };
}

interface Scenario {
  name: string;
  rules: Rule[];
  connections?: Connections;
  /** What happens to the connections that are open when it begins; they are reset by default. */
  open?: 'frozen' | 'kept';
  timings?: ReflectorTimings;
  /** What it does cannot be told from the truth at the moment when it happens: the last slice was deleted, and the next one not made. */
  mayEmpty?: boolean;
  /** Called after each change of the shop. */
  during?: (proxy: FaultProxy) => void;
}

const isWatch = ({ isWatch }: Asked) => isWatch;
const isList = ({ isList }: Asked) => isList;
const everything = () => true;
const answer = (status: number, headers: Record<string, string> = {}, body?: string): Fault => ({
  kind: 'answer',
  status,
  headers,
  body: body ?? JSON.stringify({ kind: 'Status', code: status, reason: `Made${status}`, message: 'made by the proxy' }),
});
const expired = answer(410, {}, JSON.stringify({ kind: 'Status', code: 410, reason: 'Expired', message: 'too old' }));
/** Each resource has to list once, and then meets the rest. */
const listFirst: Rule = { matches: isWatch, fault: expired, times: RESOURCES };

const damage = (kind: Damage['kind'], afterLines = 0): Fault => ({ kind: 'damage', damage: { kind, afterLines } });

const SCENARIOS: Scenario[] = [
  { name: '410 to every watch', rules: [{ matches: isWatch, fault: expired }] },
  { name: '410 to everything', rules: [{ matches: everything, fault: expired }] },
  { name: '410 as an event', rules: [{ matches: isWatch, fault: damage('expired', 2) }] },
  { name: '500 as an event', rules: [{ matches: isWatch, fault: damage('error', 2) }] },
  ...[401, 403, 404, 500, 502, 503, 504].map((status) => ({
    name: `${status} to everything`,
    rules: [{ matches: everything, fault: answer(status) }],
  })),
  ...[undefined, '0', '1', 'soon', '-1'].map((retryAfter) => ({
    name: `429 with Retry-After ${retryAfter}`,
    rules: [{ matches: everything, fault: answer(429, retryAfter === undefined ? {} : { 'retry-after': retryAfter }) }],
  })),
  { name: 'watches that end at once', rules: [{ matches: isWatch, fault: { kind: 'empty' } }] },
  { name: 'watches that end at an event', rules: [{ matches: isWatch, fault: damage('end') }] },
  { name: 'every list fails', rules: [listFirst, { matches: isList, fault: answer(500) }] },
  { name: 'lists that are cut', rules: [listFirst, { matches: isList, fault: { kind: 'cutBody', bytes: 300 } }] },
  { name: 'lists that are empty', rules: [listFirst, { matches: isList, fault: { kind: 'empty' } }] },
  {
    name: 'lists that lack their items',
    rules: [
      listFirst,
      { matches: isList, fault: answer(200, {}, '{"kind":"List","metadata":{"resourceVersion":"1"}}') },
    ],
  },
  { name: 'pages', rules: [listFirst, { matches: isList, fault: { kind: 'pages', limit: 2 } }] },
  {
    name: 'pages whose tokens expire',
    rules: [listFirst, { matches: isList, fault: { kind: 'pages', limit: 1, expiredPage: 2 } }],
  },
  {
    name: 'a page of a load balancer',
    rules: [
      { matches: everything, fault: answer(200, { 'content-type': 'text/html' }, '<html>\n<h1>Hello</h1>\n</html>\n') },
    ],
  },
  { name: 'resets before an answer', rules: [{ matches: everything, fault: { kind: 'cut' } }] },
  { name: 'refused connections', rules: [], connections: 'refused' },
  { name: 'resets in the handshake', rules: [], connections: 'resetInHandshake' },
  { name: 'watches cut in a line', rules: [{ matches: isWatch, fault: damage('cutInLine', 1) }] },
  { name: 'truncated lines', rules: [{ matches: isWatch, fault: damage('truncatedLine', 1) }] },
  { name: 'lines of garbage', rules: [{ matches: isWatch, fault: damage('garbageLine', 1) }] },
  { name: 'events told twice', rules: [{ matches: isWatch, fault: damage('twice') }] },
  { name: 'events told again and again', rules: [{ matches: isWatch, fault: damage('replayed') }] },
  { name: 'events in the wrong order', rules: [{ matches: isWatch, fault: damage('swapped') }], mayEmpty: true },
  { name: 'a flood of bookmarks', rules: [{ matches: isWatch, fault: damage('bookmarks') }] },
  { name: 'a slow drip', rules: [{ matches: everything, fault: { kind: 'drip', bytes: 97, everyMs: 2 } }] },
  { name: 'answers that take 300 ms', rules: [{ matches: everything, fault: { kind: 'delay', delayMs: 300 } }] },
  { name: 'silent watches', rules: [{ matches: isWatch, fault: { kind: 'silent' } }], timings: LISTENING },
  { name: 'watches that fall silent', rules: [{ matches: isWatch, fault: damage('silence', 1) }], timings: LISTENING },
  {
    name: 'requests that go nowhere',
    rules: [{ matches: everything, fault: { kind: 'neverAnswers' } }],
    timings: LISTENING,
  },
  { name: 'half-open connections', rules: [], open: 'frozen', timings: LISTENING },
  { name: 'silence in the handshake', rules: [], connections: 'silentInHandshake', timings: LISTENING },
];

interface Outcome {
  hits: number;
  requests: number;
  durationMs: number;
  emptied: number;
  publications: number;
  failure: Error | undefined;
}

/** The shop changes all the time; each scenario has an operator of its own before it. */
async function play(scenarios: readonly Scenario[], random: Random): Promise<Map<string, Outcome>> {
  const operators = await Promise.all(
    scenarios.map(({ timings = HASTY }) => Operator.create(seededRandom(1 + Math.floor(random() * 1e9)), timings)),
  );
  const outcomes = new Map<string, Outcome>();
  try {
    for (const operator of operators) operator.start();
    for (const [index, error] of await convergence(operators)) {
      throw new Error(`the operator of "${scenarios[index]?.name}" does not start`, { cause: error });
    }
    const startedMs = clock.monotonicMs();
    for (const [index, { proxy }] of operators.entries()) {
      const { rules = [], connections = 'open', open } = scenarios[index] ?? {};
      proxy.asked.length = 0;
      proxy.inject(...rules);
      proxy.connections = connections;
      if (open === 'frozen') proxy.freezeAll();
      else if (open !== 'kept') proxy.cutAll();
    }
    for (let number = 0; number < CHANGES; number += 1) {
      await shop.change();
      for (const [index, { proxy }] of operators.entries()) scenarios[index]?.during?.(proxy);
      await sleep(random() * 60);
    }
    const durationMs = clock.monotonicMs() - startedMs;
    const during = operators.map(({ proxy }) => {
      const hits = proxy.hits().reduce((sum, count) => sum + count, 0);
      const requests = proxy.asked.length;
      proxy.heal();
      return { hits, requests };
    });
    const failures = await convergence(operators);
    for (const [index, { name }] of scenarios.entries()) {
      const { hits = 0, requests = 0 } = during[index] ?? {};
      const { emptied = 0, publications = 0 } = operators[index] ?? {};
      outcomes.set(name, { hits, requests, durationMs, emptied, publications, failure: failures.get(index) });
    }
    return outcomes;
  } finally {
    await Promise.all(operators.map((operator) => operator.stop()));
  }
}

function expectSound(outcome: Outcome | undefined, { factor = 1, mayEmpty = false } = {}): void {
  if (outcome === undefined) throw new Error('the scenario was not played');
  if (outcome.failure !== undefined) throw outcome.failure;
  if (!mayEmpty) expect(outcome.emptied).toBe(0);
  expect(outcome.publications).toBeGreaterThan(0);
  expect(outcome.requests).toBeLessThan(RESOURCES * budget(outcome.durationMs) * factor);
}

describe('alone', () => {
  const outcomes = new Map<string, Outcome>();

  beforeAll(async () => {
    const random = seededRandom(SEED ?? 1);
    for (let from = 0; from < SCENARIOS.length; from += AT_A_TIME) {
      for (const played of await play(SCENARIOS.slice(from, from + AT_A_TIME), random)) outcomes.set(...played);
    }
  }, 300_000);

  test.each(SCENARIOS)('$name', ({ name, rules, mayEmpty = false }) => {
    const outcome = outcomes.get(name);
    // A token that is refused is tried twice.
    expectSound(outcome, { factor: name.startsWith('401') ? 2 : 1, mayEmpty });
    if (rules.length > 0) expect(outcome?.hits).toBeGreaterThanOrEqual(RESOURCES);
  });
});

/** Faults of all kinds by chance, to some requests, of some resources, and connections that die. */
function mixture(seed: number): Scenario {
  const random = seededRandom(seed);
  const pick = <T>(from: readonly [T, ...T[]]): T => from[Math.floor(random() * from.length)] ?? from[0];
  const [first, ...others] = SCENARIOS.flatMap(({ rules, mayEmpty }) => (mayEmpty ? [] : rules));
  if (first === undefined) throw new Error('there are no faults to be mixed');
  const rules = Array.from({ length: 4 + Math.floor(random() * 5) }, (): Rule => {
    const { matches, fault } = pick([first, ...others]);
    const only = pick([undefined, 'endpointslices', 'services', 'resiliencepolicies']);
    return {
      matches: (asked) => matches(asked) && (only === undefined || asked.resource === only),
      fault,
      probability: 0.1 + random() * 0.5,
    };
  });
  const during = (proxy: FaultProxy) => {
    proxy.connections = random() < 0.85 ? 'open' : pick(['refused', 'resetInHandshake', 'silentInHandshake']);
    if (random() < 0.1) proxy.cutAll();
    if (random() < 0.05) proxy.freezeAll();
  };
  return { name: `seed ${seed}`, rules, during, timings: LISTENING };
}

describe('mixed', () => {
  const seeds = SEED === undefined ? Array.from({ length: SEEDS }, (_, index) => index + 1) : [SEED];
  const outcomes = new Map<string, Outcome>();

  beforeAll(
    async () => {
      for (let from = 0; from < seeds.length; from += MIXED_AT_A_TIME) {
        const scenarios = seeds.slice(from, from + MIXED_AT_A_TIME).map(mixture);
        for (const played of await play(scenarios, seededRandom(from + 1))) outcomes.set(...played);
      }
    },
    200_000 + SEEDS * 10_000,
  );

  test.each(seeds)('seed %d', (seed) => expectSound(outcomes.get(`seed ${seed}`), { factor: 2 }));
});

async function restarts(operator: Operator, reason: string): Promise<number> {
  const { values } = await operator.metrics.watchRestarts.get();
  return values.filter(({ labels }) => labels.reason === reason).reduce((sum, { value }) => sum + value, 0);
}

async function mustConverge(operator: Operator): Promise<void> {
  for (const error of (await convergence([operator])).values()) throw error;
}

async function withOperator(timings: ReflectorTimings, run: (operator: Operator) => Promise<void>): Promise<void> {
  const operator = await Operator.create(seededRandom(1), timings);
  try {
    await run(operator);
  } finally {
    await operator.stop();
  }
}

const soon = (check: () => void) => vi.waitFor(check, { timeout: CONVERGED_WITHIN_MS, interval: 20 });

test('a list that takes too long gets its time in the end, and holds up no other', async () => {
  const timings = { ...HASTY, listTimeoutMs: 1_000, listTimeoutMaxMs: 20_000 };
  await withOperator(timings, async (operator) => {
    const { proxy, source } = operator;
    proxy.inject({
      matches: ({ isList, resource }) => isList && resource === 'pods',
      fault: { kind: 'delay', delayMs: 2_500 },
    });
    operator.start();
    await soon(() =>
      expect(source.waitingFor()).toEqual([expect.stringMatching(/^pods \(.*timed out after \d+ms\)$/)]),
    );
    expect(operator.publications).toBe(0);
    await mustConverge(operator);
    expect(proxy.asked.filter(({ isList, resource }) => isList && resource === 'pods').length).toBeLessThanOrEqual(4);
    expect(operator.emptied).toBe(0);
  });
});

test('an API server that restarts, and has forgotten the version where watches were, is listed anew', async () => {
  await withOperator(HASTY, async (operator) => {
    const { proxy } = operator;
    operator.start();
    await mustConverge(operator);
    proxy.connections = 'refused';
    proxy.cutAll();
    for (let number = 0; number < CHANGES; number += 1) await shop.change();
    await plane.stopApiServer();
    await plane.compact();
    await plane.startApiServer();
    proxy.heal();
    await mustConverge(operator);
    expect(await restarts(operator, 'Expired')).toBeGreaterThan(0);
    expect(operator.emptied).toBe(0);
  });
});

describe('definitions', () => {
  const manifests = `${import.meta.dirname}/../../crds/manifests`;
  const define = async () => {
    expect(await plane.kubectl(['apply', '--server-side', '-f', manifests])).toMatchObject({ code: 0 });
    await plane.kubectl(['wait', '--for=condition=Established', 'crd', '--all', '--timeout=30s']);
  };
  const remove = async () => expect(await plane.kubectl(['delete', '-f', manifests])).toMatchObject({ code: 0 });
  const ours = ({ source }: Operator) => source.world().serviceDependencies.map(({ metadata }) => metadata.name);

  test('that are deleted take their objects with them, and bring those that come after', async () => {
    await withOperator(HASTY, async (operator) => {
      operator.start();
      await mustConverge(operator);
      await remove();
      await mustConverge(operator);
      expect(ours(operator)).toEqual([]);
      operator.proxy.asked.length = 0;
      const startedMs = clock.monotonicMs();
      await soon(() => expect(operator.proxy.asked.length).toBeGreaterThan(6));
      expect(operator.proxy.asked.length).toBeLessThan(2 * budget(clock.monotonicMs() - startedMs));
      await define();
      await shop.declare();
      await mustConverge(operator);
      expect(ours(operator)).toContain('steady');
    });
  });

  test('that were deleted unseen: what is known stays until there is something to know again', async () => {
    await withOperator(HASTY, async (operator) => {
      operator.start();
      await mustConverge(operator);
      operator.proxy.connections = 'refused';
      operator.proxy.cutAll();
      await remove();
      operator.proxy.heal();
      const before = (await restarts(operator, 'NotFound')) + (await restarts(operator, 'HTTP404'));
      await vi.waitFor(
        async () => {
          expect((await restarts(operator, 'NotFound')) + (await restarts(operator, 'HTTP404'))).toBeGreaterThan(
            before + 4,
          );
        },
        { timeout: CONVERGED_WITHIN_MS },
      );
      expect(ours(operator)).toContain('steady');
      await define();
      await mustConverge(operator);
      expect(ours(operator)).toEqual([]);
      await shop.declare();
      await mustConverge(operator);
      expect(ours(operator)).toContain('steady');
    });
  });

  test('that are not there yet are waited for', async () => {
    await remove();
    await withOperator(HASTY, async (operator) => {
      operator.start();
      await soon(() =>
        expect(operator.source.waitingFor()).toEqual([
          expect.stringMatching(/^servicedependencies \(404/),
          expect.stringMatching(/^resiliencepolicies \(404/),
        ]),
      );
      expect(operator.publications).toBe(0);
      await define();
      await shop.declare();
      await mustConverge(operator);
    });
  });
});
