// One run: applications call, everything goes wrong for some seconds, all of it drawn from one seed; then there is peace, and every book must
// balance.
import { MAX_CHECKS_UNDER_WAY } from '../../sidecar/proxy/dependency/health-prober.ts';
import { behaviour } from './behaviours.ts';
import { add } from './counts.ts';
import type { Shadows } from './data-plane.ts';
import type { Dice } from './dice.ts';
import type { Tally } from './ledger.ts';
import { FAIR_WEATHER } from './network.ts';
import { FAIR_LINKS } from './operator.ts';
import type { Probes } from './probes.ts';
import { KEEP_ALIVE_MS } from './socket.ts';
import { demand } from './violation.ts';
import { SimulatedWorld } from './world.ts';

const BUSY_MS = 8_000;
/** In peace, what was under way gets so long to end by itself. */
const ENDING_MS = 10_000;
/** After that everybody gives up, and what is left is put back: pools, streams, the last reports. */
const REST_MS = 150_000;

export interface RunOptions {
  wallClockSteps?: boolean;
  /** AsPlanned where absent. */
  shadows?: Shadows;
  /** Some Services and applications speak HTTP/2; HTTP/1.1 alone where absent. */
  http2?: boolean;
  /** Called with every event that is worth telling. */
  trace?: (nowMs: number, text: string) => void;
}

export interface RunResult extends Tally {
  /** What the policies did. */
  counts: Probes['counts'];
  /** How often policies in shadow would have done something, by block. */
  shadowDecisions: Record<string, number>;
}

/** Rejects with a Violation where something happened that must not. */
export async function simulate(seed: number, options: RunOptions = {}): Promise<RunResult> {
  const { wallClockSteps = true, shadows = 'AsPlanned', http2 = false, trace = () => {} } = options;
  const world = new SimulatedWorld({ seed, shadows, http2, trace });
  world.watch();
  const restore = http2 ? catchUncaught(world) : () => {};
  try {
    await world.start();
    trouble(world, wallClockSteps);
    await world.time.settleUntil(BUSY_MS);
    peace(world);
    await world.time.settleUntil(BUSY_MS + ENDING_MS);
    for (const application of world.applications) application.giveUp();
    await world.time.settleUntil(BUSY_MS + ENDING_MS + REST_MS);
    await closeBooks(world);
  } finally {
    world.unwatch();
    await world.end();
    restore();
  }
  const shadowDecisions: Record<string, number> = {};
  for (const sidecar of world.sidecars) add(shadowDecisions, await sidecar.shadowDecisions());
  return { ...world.ledger.tally, counts: world.counts, shadowDecisions };
}

/** What is thrown where Node calls by itself, as it does for all that comes over HTTP/2, is thrown where the run is waited for. */
function catchUncaught(world: SimulatedWorld): () => void {
  let thrown: Error | null = null;
  process.setUncaughtExceptionCaptureCallback((error) => {
    thrown ??= error instanceof Error ? error : new Error(String(error));
  });
  world.time.onTurn = () => {
    if (thrown !== null) throw thrown;
  };
  return () => process.setUncaughtExceptionCaptureCallback(null);
}

/** Trouble of every kind, each as often as this seed wants it. */
function trouble(world: SimulatedWorld, wallClockSteps: boolean): void {
  const dice = world.dice('trouble');
  const often = (run: (dice: Dice) => void, name: string) => {
    if (dice.chance(0.3)) return;
    repeat(world, world.dice(name), dice.skewed(300, 4_000), run);
  };
  world.network.weather = {
    latencyMs: dice.pick([0.1, 0.5, 5]),
    resets: dice.pick([0, 0, 0.05, 0.3]),
    silences: dice.pick([0, 0, 0.02]),
    pieces: dice.chance(0.5),
  };
  world.linkWeather = {
    refused: dice.pick([0, 0.3, 0.7]),
    broken: dice.pick([0, 0.3, 0.7]),
    silent: dice.pick([0, 0.1]),
  };
  often((own) => misbehave(world, own), 'behaviours');
  often((own) => comeAndGo(world, own), 'pods');
  often(() => edit(world), 'edits');
  often((own) => pick(world.sidecars, own).host.stall(own.skewed(1, 400)), 'pauses');
  often((own) => restartOperator(world, own), 'operator');
  if (!wallClockSteps) return;
  repeat(world, world.dice('wall clocks'), 500, (own) => {
    const { host } = own.chance(0.7) ? pick(world.sidecars, own) : pick(world.replicas, own);
    host.stepWallClock(own.pick([-86_400_000, -3_600_000, -100, 100, 3_600_000, 86_400_000]));
  });
}

function repeat(world: SimulatedWorld, dice: Dice, everyMs: number, run: (dice: Dice) => void): void {
  world.time.after(dice.random() * 2 * everyMs, () => {
    if (world.time.nowMs >= BUSY_MS) return;
    run(dice);
    repeat(world, dice, everyMs, run);
  });
}

/** All pods of a Service change together, as in an outage of what they need, or one of them does. */
function misbehave(world: SimulatedWorld, dice: Dice): void {
  const mode = dice.pick(world.modes);
  const servers = pick([...world.servers.values()], dice);
  const hit = dice.chance(0.4) || servers.length === 0 ? servers : [dice.pick(servers)];
  for (const server of hit) {
    server.behaviour = behaviour(mode, dice);
    server.workers = dice.chance(0.2) ? dice.between(1, 4) : Number.POSITIVE_INFINITY;
    server.maxQueued = dice.chance(0.5) ? dice.between(0, 10) : Number.POSITIVE_INFINITY;
  }
  world.trace(`${hit.map(({ host }) => host.name).join(', ')}: ${mode}`);
}

function comeAndGo(world: SimulatedWorld, dice: Dice): void {
  const [service] = pick([...world.servers], dice);
  if (dice.chance(0.5)) world.addServer(service);
  else world.removeServer(service, dice.chance(0.5) ? dice.skewed(50, 5_000) : 0);
}

function edit(world: SimulatedWorld): void {
  world.trace(world.cluster.edit());
  world.announce();
}

function restartOperator(world: SimulatedWorld, dice: Dice): void {
  const replica = pick(world.replicas, dice);
  world.trace(`${replica.host.name} goes down`);
  replica.stop(dice.chance(0.5));
  world.time.after(dice.skewed(10, 3_000), () => {
    world.trace(`${replica.host.name} is back`);
    replica.start();
  });
}

function peace(world: SimulatedWorld): void {
  const dice = world.dice('peace');
  world.trace('peace');
  world.network.weather = FAIR_WEATHER;
  world.linkWeather = FAIR_LINKS;
  for (const application of world.applications) application.stop();
  for (const replica of world.replicas) replica.start();
  for (const server of world.allServers()) {
    server.behaviour = behaviour('Healthy', dice);
    server.workers = Number.POSITIVE_INFINITY;
  }
  for (const [service, servers] of world.servers) if (servers.length === 0) world.addServer(service);
  world.cluster.calm();
  world.announce();
}

/**
 * An application that only ended its side of a connection may still want its answer: its request is tried again as often and as late as a
 * policy may say. And that end may be the first to be sent on a connection that had fallen silent.
 */
const LONGEST_BACKOFFS_MS = 10 * 60_000;

/** A connection that was made in trouble may have been cut just now, at whichever byte it was to be. */
const CONVERGED_WITHIN_MS = 30_000;

async function closeBooks(world: SimulatedWorld): Promise<void> {
  const latestMs = world.time.nowMs + CONVERGED_WITHIN_MS;
  const areUp = () =>
    world.sidecars.every(({ subscriber }) => {
      const { planStreamUp, endpointsStreamUp } = subscriber.status();
      return planStreamUp && endpointsStreamUp;
    });
  while (world.time.nowMs < latestMs && !areUp()) await world.time.settleUntil(world.time.nowMs + 1_000);
  converged(world);
  world.demandNothingLeft();
  for (const server of world.allServers()) server.kill();
  // Where a connection had fallen silent, the kernel has to find out by itself.
  await world.time.settleUntil(world.time.nowMs + KEEP_ALIVE_MS + 1_000);
  const isBusy = () =>
    world.sidecars.some(({ dataPlane }) => {
      const { requests, tunnels } = dataPlane.held();
      return requests + tunnels > 0;
    });
  const untilMs = world.time.nowMs + LONGEST_BACKOFFS_MS;
  do await world.time.settleUntil(world.time.nowMs + 1_000);
  while (isBusy() && world.time.nowMs < untilMs);
  for (const { pod, dataPlane } of world.sidecars) {
    // Health checks go on as long as the sidecar does: each holds its timer, and nothing else.
    const { healthChecks, timers, ...rest } = dataPlane.held();
    demand(healthChecks <= MAX_CHECKS_UNDER_WAY, () => `the sidecar of ${pod} makes ${healthChecks} health checks`);
    for (const [what, count] of Object.entries({ ...rest, timers: timers - healthChecks }))
      demand(count === 0, () => `the sidecar of ${pod} still holds ${count} ${what}`);
  }
  for (const sidecar of world.sidecars) await sidecar.stop();
  for (const replica of world.replicas) replica.stop(true);
  await world.time.settleUntil(world.time.nowMs + 20_000);
  for (const { pod, host } of world.sidecars)
    demand(host.timers === 0, () => `${host.timers} timers of the sidecar of ${pod} are still set`);
  demand(world.network.open === 0, () => `${world.network.open} sockets are still open`);
  world.ledger.close();
  world.probes.close();
}

/** Every sidecar enforces the newest plan and knows the newest endpoints, and the operator knows that. */
function converged(world: SimulatedWorld): void {
  for (const replica of world.replicas) {
    for (const { pod, subscriber, dataPlane } of world.sidecars) {
      const status = subscriber.status();
      const workload = replica.workloadOf(pod);
      const say = (what: string) => () => `${what} in the sidecar of ${pod}: ${JSON.stringify(status)}`;
      demand(status.planStreamUp && status.endpointsStreamUp && status.endpointsConfirmed, say('a stream is not up'));
      demand(status.planVersion === workload?.version, say(`plan ${workload?.version} is not in force`));
      demand(
        status.endpointsVersion === replica.endpointsOf(pod),
        say(`endpoints are not ${replica.endpointsOf(pod)}`),
      );
      const present = dataPlane
        .circuits()
        // Shadows are another row of the plan, and have no effect.
        .filter(({ stateKey }) => !stateKey.startsWith('shadow.'))
        .map(({ dependency, stateKey }) => `${dependency} ${stateKey}`);
      const planned = workload?.plan.dependencies.flatMap(({ id, policies }) =>
        policies.flatMap(({ circuitBreaker }) => (circuitBreaker === null ? [] : [`${id} ${circuitBreaker.stateKey}`])),
      );
      const wanted = [...new Set(planned)];
      demand(
        present.sort().join() === wanted.sort().join(),
        say(`circuits are ${present.join()}, not ${wanted.join()}`),
      );
    }
  }
  acknowledged(world);
}

/** Of the replicas together, as status shows it: each sidecar acknowledged to the one that holds its stream. */
function acknowledged(world: SimulatedWorld): void {
  if (world.replicas.length > 1) return;
  for (const { applied } of world.replicas.map(({ distributor }) => distributor.summaries())) {
    for (const [workload, summary] of applied)
      demand(
        summary.applied === summary.of && summary.nacks.length === 0,
        () => `the operator says of ${workload}: applied by ${summary.applied} of ${summary.of}`,
      );
  }
}

function pick<T>(values: readonly T[], dice: Dice): T {
  return dice.pick(values);
}
