// `npm run demo`: two identical shops live through the same failure of payments at the same time, one behind sidecars of Breakwater, one
// on its own. Everything is real: eight services, the operator and two sidecars as processes, HTTP between them; nothing is staged but the
// behaviour of payments.
import { copyFile, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { systemClock as clock } from '../../runtime/clock.ts';
import { projectRoot } from '../following-child.ts';
import { parseMetrics, type Sample } from '../prometheus-text.ts';
import { type RunningStandalone, startStandalone } from '../standalone-client.ts';
import { CircuitHistory } from './circuit-history.ts';
import { Customers } from './customers.ts';
import { countInside, recent, summarise } from './measurements.ts';
import { DURATION_MS, FAILURE, PATIENCE_MS, STAGES, stageAt } from './schedule.ts';
import { Shop } from './shop.ts';
import { countersOf, type DependencyCounters } from './sidecar-metrics.ts';
import { Terminal } from './terminal.ts';
import { type ConnectionView, milliseconds, type Results, renderTable, type ShopResult, type View } from './view.ts';

const LOOK_EVERY_MS = 100;
const DRAW_EVERY_MS = 250;
/** Far beyond what an idle machine takes: on a busy one a late look is still true, and a demo that fails shows nothing. */
const SCRAPE_TIMEOUT_MS = 10_000;
const RECENT_MS = 2_000;
/** How long the circuit may take to close after the last customer, before the run counts as failed. */
const CLOSE_WITHIN_MS = 10_000;
/** Customers that come later than this say more about the machine than about the shops. */
const LATE_MS = 500;
/** As shells count them. */
const EXIT_CODES = [
  ['SIGHUP', 129],
  ['SIGINT', 130],
  ['SIGTERM', 143],
] as const;
/** A charge that was sent just before the circuit opened may arrive so much later on a busy machine. */
const ON_THE_WAY_MS = 200;
const CALLS = [
  { from: 'storefront', to: 'checkout' },
  { from: 'checkout', to: 'inventory' },
  { from: 'checkout', to: 'payments' },
] as const;

export interface DemoOptions {
  output: 'text' | 'json';
  colour: boolean;
}

/** Resolves to the exit code: 0 where the circuit opened, protected and closed. */
export async function runDemo(options: DemoOptions): Promise<number> {
  const folder = await mkdtemp(join(tmpdir(), 'breakwater-demo-'));
  const demo = new Demo(
    folder,
    new Terminal(options.output === 'json' ? process.stderr : process.stdout, options.colour),
  );
  // Not once: a terminal, npm and the launcher each send the same one.
  const stopped = new Promise<number>((resolve) => {
    for (const [signal, code] of EXIT_CODES) process.on(signal, () => resolve(code));
  });
  try {
    const outcome = await Promise.race([demo.run(), stopped]);
    if (typeof outcome === 'number') return outcome;
    return conclude(outcome, demo, options);
  } finally {
    await demo.stop();
    await rm(folder, { recursive: true, force: true });
  }
}

interface Outcome {
  opened: boolean;
  closed: boolean;
  /** By how many milliseconds the latest customer of either shop came after his time. */
  latestMs: number;
  results: Results;
}

function conclude({ opened, closed, latestMs, results }: Outcome, demo: Demo, options: DemoOptions): number {
  const problems = [
    ...(opened ? [] : ['the circuit did not open']),
    ...(closed ? [] : ['the circuit did not close']),
    ...(protects(results) ? [] : ['Breakwater did not protect the customers']),
  ];
  demo.terminal.close();
  demo.terminal.print(['', ...renderTable(results, demo.terminal.paint), '']);
  demo.terminal.print(
    problems.length === 0
      ? ['The circuit opened, protected checkout and closed by itself.']
      : problems.map((problem) => demo.terminal.paint('red', `FAILED: ${problem}`)),
  );
  if (latestMs > LATE_MS) {
    demo.terminal.print([
      `This machine was too busy: customers came up to ${milliseconds(latestMs)} late, so the times above are`,
      'those of the machine too. Run the demo again when less else runs.',
    ]);
  }
  if (options.output === 'json') {
    const line = { opened, closed, with: jsonResult(results.with), without: jsonResult(results.without) };
    process.stdout.write(`${JSON.stringify(line)}\n`);
  }
  return problems.length === 0 ? 0 : 1;
}

const jsonResult = ({ customers, reachedUpstreamWhileOpen }: ShopResult) => ({
  requests: customers.requests,
  failed: customers.failed,
  p99Ms: Math.round(customers.p99Ms * 10) / 10,
  reachedUpstreamWhileOpen,
});

/** Fewer failures by at least nine in ten, and nothing sent to a dependency whose circuit is open. */
function protects(results: Results): boolean {
  const { with: guarded, without } = results;
  return guarded.customers.failed * 10 <= without.customers.failed && guarded.reachedUpstreamWhileOpen === 0;
}

class Demo {
  readonly terminal: Terminal;
  readonly #folder: string;
  readonly #guarded = new Shop();
  readonly #bare = new Shop();
  readonly #history = new CircuitHistory();
  readonly #events: string[] = [];
  #standalone: RunningStandalone | undefined;
  #customers: { guarded: Customers; bare: Customers } | undefined;
  #counters: Partial<Record<'checkout' | 'inventory' | 'payments', DependencyCounters>> = {};
  #startMs = 0;
  #isStopped = false;

  constructor(folder: string, terminal: Terminal) {
    this.#folder = folder;
    this.terminal = terminal;
  }

  async run(): Promise<Outcome> {
    await Promise.all([this.#guarded.start(), this.#bare.start()]);
    this.#connectBare();
    await this.#connectGuarded();
    this.#begin();
    // One that fails ends the demo: what it shows would not be true any more.
    await Promise.all([
      this.#repeat(LOOK_EVERY_MS, () => this.#look()),
      this.#repeat(DRAW_EVERY_MS, () => this.terminal.show(this.#view())),
      this.#tellStory(),
    ]);
    this.terminal.show(this.#view());
    return {
      opened: this.#history.opened,
      closed: this.#history.closed,
      latestMs: Math.max(this.#customers?.guarded.latestMs ?? 0, this.#customers?.bare.latestMs ?? 0),
      results: {
        with: this.#result(this.#customers?.guarded, this.#guarded),
        without: this.#result(this.#customers?.bare, this.#bare),
      },
    };
  }

  async #tellStory(): Promise<void> {
    await this.#play();
    this.#customers?.guarded.stop();
    this.#customers?.bare.stop();
    await this.#untilClosed();
    this.#isStopped = true;
  }

  async stop(): Promise<void> {
    this.#isStopped = true;
    this.terminal.close();
    this.#customers?.guarded.close();
    this.#customers?.bare.close();
    await Promise.all([this.#standalone?.stop(), this.#guarded.stop(), this.#bare.stop()]);
  }

  #connectBare(): void {
    for (const { from, to } of CALLS) this.#bare.connect(from, { [to]: `http://127.0.0.1:${this.#bare.port(to)}` });
  }

  /** Writes where the services are, starts Breakwater over it, and gives each service the address of its sidecar. */
  async #connectGuarded(): Promise<void> {
    await copyFile(join(projectRoot, 'cli/demo/shop.yaml'), join(this.#folder, 'shop.yaml'));
    const slices = CALLS.map(({ to }) => endpointSlice(to, this.#guarded.port(to)));
    await writeFile(
      join(this.#folder, 'endpoints.json'),
      JSON.stringify({ apiVersion: 'v1', kind: 'List', items: slices }),
    );
    this.#standalone = await startStandalone(this.#folder, ['--log-level', 'error']);
    for (const { from, to } of CALLS) {
      this.#guarded.connect(from, { [to]: `http://${this.#workload(from).dependencies[to] ?? 'missing'}` });
    }
  }

  #workload(name: string) {
    const workload = this.#standalone?.ready.workloads[`shop/${name}`];
    if (!workload) throw new Error(`standalone runs no sidecar for shop/${name}`);
    return workload;
  }

  #begin(): void {
    this.#startMs = clock.monotonicMs();
    this.#guarded.startMs = this.#startMs;
    this.#bare.startMs = this.#startMs;
    this.#customers = {
      guarded: new Customers(`http://127.0.0.1:${this.#guarded.port('storefront')}`),
      bare: new Customers(`http://127.0.0.1:${this.#bare.port('storefront')}`),
    };
    this.#customers.guarded.start(this.#startMs);
    this.#customers.bare.start(this.#startMs);
  }

  #elapsed(): number {
    return clock.monotonicMs() - this.#startMs;
  }

  async #play(): Promise<void> {
    for (const stage of STAGES) {
      await clock.sleep(Math.max(0, stage.fromMs - this.#elapsed()));
      this.#guarded.setPayments(stage.behaviour);
      this.#bare.setPayments(stage.behaviour);
      this.#tell(stage.title);
    }
    await clock.sleep(Math.max(0, DURATION_MS - this.#elapsed()));
  }

  async #untilClosed(): Promise<void> {
    const endMs = clock.monotonicMs() + CLOSE_WITHIN_MS;
    const isDone = () =>
      this.#history.closed && this.#customers?.guarded.waiting === 0 && this.#customers.bare.waiting === 0;
    await clock.sleep(PATIENCE_MS);
    while (!isDone() && clock.monotonicMs() < endMs) await clock.sleep(LOOK_EVERY_MS);
  }

  async #repeat(everyMs: number, work: () => Promise<void> | void): Promise<void> {
    while (!this.#isStopped) {
      await work();
      await clock.sleep(everyMs);
    }
  }

  /** One look at the sidecars' own metrics. */
  async #look(): Promise<void> {
    const begunMs = clock.unixMs();
    const samples = await this.#scrape('checkout');
    const endedMs = clock.unixMs();
    const storefront = await this.#scrape('storefront');
    const payments = countersOf(samples, 'payments');
    this.#counters = {
      payments,
      inventory: countersOf(samples, 'inventory'),
      checkout: countersOf(storefront, 'checkout'),
    };
    const change = this.#history.add({
      begunMs,
      endedMs,
      circuit: payments.circuit,
      transitions: payments.transitions,
    });
    if (change) this.#tell(`the circuit from checkout to payments is ${change.to}`);
  }

  async #scrape(workload: string): Promise<Sample[]> {
    const { admin } = this.#workload(workload);
    try {
      const response = await fetch(`${admin}/metrics`, { signal: AbortSignal.timeout(SCRAPE_TIMEOUT_MS) });
      if (!response.ok) throw new Error(`status ${response.status}`);
      return parseMetrics(await response.text());
    } catch (error) {
      throw new Error(`the sidecar of ${workload} does not tell its metrics`, { cause: error });
    }
  }

  #tell(what: string): void {
    this.#events.push(`${milliseconds(this.#elapsed()).padStart(8)}  ${what}`);
  }

  #view(): View {
    const elapsedMs = this.#elapsed();
    const connections = (shop: Shop, guarded: boolean): ConnectionView[] =>
      CALLS.map(({ from, to }) => ({
        name: `${from} → ${to}`,
        recent: recent(shop.callsTo(to), elapsedMs, RECENT_MS),
        counters: guarded ? this.#counters[to] : undefined,
      }));
    const customers = (one: Customers | undefined) => recent(one?.visits ?? [], elapsedMs, RECENT_MS);
    return {
      elapsedMs,
      durationMs: DURATION_MS,
      stage: stageAt(elapsedMs).title,
      shops: [
        {
          title: 'WITH BREAKWATER',
          customers: customers(this.#customers?.guarded),
          connections: connections(this.#guarded, true),
        },
        { title: 'WITHOUT', customers: customers(this.#customers?.bare), connections: connections(this.#bare, false) },
      ],
      events: this.#events,
    };
  }

  #result(customers: Customers | undefined, shop: Shop): ShopResult {
    const visits = (customers?.visits ?? []).filter(({ atMs }) => atMs >= FAILURE.fromMs && atMs < FAILURE.toMs);
    return {
      customers: summarise(visits),
      baskets: summarise(visits.filter(({ order }) => !order)),
      paid: visits.filter(({ order, status }) => order && status === 201).length,
      paidLater: visits.filter(({ order, status }) => order && status === 202).length,
      reachedUpstreamWhileOpen: countInside(shop.chargesArrived, this.#history.openIntervals(ON_THE_WAY_MS)),
    };
  }
}

function endpointSlice(service: string, port: number): object {
  return {
    apiVersion: 'discovery.k8s.io/v1',
    kind: 'EndpointSlice',
    metadata: { name: `${service}-1`, namespace: 'shop', labels: { 'kubernetes.io/service-name': service } },
    addressType: 'IPv4',
    ports: [{ name: 'http', port, protocol: 'TCP' }],
    endpoints: [{ addresses: ['127.0.0.1'], conditions: { ready: true } }],
  };
}
