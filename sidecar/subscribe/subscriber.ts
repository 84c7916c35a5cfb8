// Everything between the operator and the data path: starts from disk, follows both streams, reports back.
import type { LookupFunction } from 'node:net';
import type { WorkloadPlan } from '../../plan/plan.ts';
import type { Clock } from '../../runtime/clock.ts';
import type { Logger } from '../../runtime/log.ts';
import type { Random } from '../../runtime/random.ts';
import type { DataPlane } from '../data-plane.ts';
import { EndpointsFollower } from './endpoints-follower.ts';
import { StateDirectory } from './last-known-good.ts';
import type { SubscribeMetrics } from './metrics.ts';
import { OperatorClient, type OperatorConnection } from './operator-client.ts';
import { PlanFollower, type Verdict } from './plan-follower.ts';
import { Reporter } from './reporter.ts';
import { STREAM_SETTINGS, StreamClient } from './stream-client.ts';
import type { StreamSettings } from './stream-machine.ts';
import { Trust } from './trust.ts';

export interface SubscriberOptions {
  /** In the place of the operator at `operatorUrl`: for a simulation, which has no network. */
  operator?: OperatorConnection;
  operatorUrl: URL;
  tokenFile: string;
  caBundle: string | null;
  caFile: string | null;
  stateDirectory: string | null;
  dataPlane: DataPlane;
  locallyDisabled(): boolean;
  /** After every plan that was applied, from disk or stream. */
  onPlanApplied(plan: WorkloadPlan): void;
  /** Resolves the name of the operator. */
  lookup: LookupFunction;
  metrics: SubscribeMetrics;
  clock: Clock;
  random: Random;
  log: Logger;
  streamSettings?: StreamSettings;
}

export interface SubscriptionStatus {
  planVersion: string | null;
  planStreamUp: boolean;
  endpointsVersion: string | null;
  endpointsStreamUp: boolean;
  endpointsConfirmed: boolean;
}

const POST_TIMEOUT_MS = 10_000;

export class Subscriber {
  readonly #options: SubscriberOptions;
  readonly #trust: Trust;
  readonly #client: OperatorConnection;
  readonly #state: StateDirectory | null;
  readonly #reporter: Reporter;
  readonly #plan: PlanFollower;
  readonly #endpoints: EndpointsFollower;
  readonly #streams: { plan: StreamClient; endpoints: StreamClient };
  #current: WorkloadPlan | null = null;

  constructor(options: SubscriberOptions) {
    this.#options = options;
    const { clock, random, log, metrics, dataPlane } = options;
    this.#trust = new Trust(options.caBundle, options.caFile);
    this.#client =
      options.operator ??
      new OperatorClient({
        url: options.operatorUrl,
        tokenFile: options.tokenFile,
        trust: this.#trust,
        lookup: options.lookup,
        postTimeoutMs: POST_TIMEOUT_MS,
      });
    this.#state =
      options.stateDirectory === null
        ? null
        : new StateDirectory(options.stateDirectory, clock, log, () => metrics.countStateWriteFailure());
    this.#reporter = new Reporter({
      post: (path, body, streamPath) => this.#client.post(path, body, streamPath),
      circuits: () => dataPlane.circuits(),
      exclusions: () => dataPlane.exclusions(),
      opaque: () => dataPlane.opaque(),
      tls: () => dataPlane.tls(),
      locallyDisabled: () => options.locallyDisabled(),
      clock,
      random,
      log,
    });
    this.#plan = this.#createPlanFollower();
    this.#endpoints = this.#createEndpointsFollower();
    const settings = options.streamSettings ?? STREAM_SETTINGS;
    const stream = (follower: PlanFollower | EndpointsFollower) =>
      new StreamClient({ follower, client: this.#client, settings, clock, random, log });
    this.#streams = { plan: stream(this.#plan), endpoints: stream(this.#endpoints) };
    dataPlane.onCircuitChange(() => this.#reporter.circuitsChanged());
    dataPlane.onExclusionChange(() => this.#reporter.exclusionsChanged());
    dataPlane.onOpaqueChange(() => this.#reporter.exclusionsChanged());
    dataPlane.onTlsChange(() => this.#reporter.tlsChanged());
  }

  /** The plan in force; null before the first one. */
  get plan(): WorkloadPlan | null {
    return this.#current;
  }

  status(): SubscriptionStatus {
    return {
      planVersion: this.#plan.version,
      planStreamUp: this.#streams.plan.isUp,
      endpointsVersion: this.#endpoints.version,
      endpointsStreamUp: this.#streams.endpoints.isUp,
      endpointsConfirmed: this.#endpoints.confirmed,
    };
  }

  /** Applies what the last process left; whatever of it cannot be used is logged and left out. */
  async restore(): Promise<void> {
    const { dataPlane, log, metrics, clock } = this.#options;
    dataPlane.setEndpointsStreamUp(false);
    if (this.#state === null) return;
    const { plan, endpoints, trustBundle } = await this.#state.read();
    if (trustBundle !== null) this.#trust.accept(trustBundle);
    if (plan !== null) {
      this.#attempt('plan', () => {
        this.#plan.restore(plan.version, plan.plan);
        this.#planIsInForce(plan.version, plan.plan);
        metrics.setRestored('plan', clock.unixMs() - plan.savedAtUnixMs, clock.monotonicMs());
        log.info({ version: plan.version }, 'plan restored from disk');
      });
    }
    if (endpoints !== null) {
      this.#attempt('endpoints', () => {
        this.#endpoints.restore(endpoints.version, endpoints.sets);
        metrics.setRestored('endpoints', clock.unixMs() - endpoints.savedAtUnixMs, clock.monotonicMs());
        log.info(
          { version: endpoints.version, sets: endpoints.sets.length },
          'endpoints restored from disk, not confirmed yet',
        );
      });
    }
  }

  start(): void {
    this.#streams.plan.start();
    this.#streams.endpoints.start();
  }

  async stop(): Promise<void> {
    this.#streams.plan.stop();
    this.#streams.endpoints.stop();
    this.#reporter.close();
    this.#client.close();
    await this.#state?.flush();
  }

  /** The local kill switch was thrown or reset: the operator is to know. */
  localSwitchChanged(): void {
    this.#reporter.localSwitchChanged();
  }

  #attempt(what: string, apply: () => void): void {
    try {
      apply();
    } catch (error) {
      this.#options.log.error(
        { err: error, what },
        'what was restored from disk cannot be applied; the operator will send it again',
      );
    }
  }

  #planIsInForce(version: string, plan: WorkloadPlan): void {
    this.#current = plan;
    this.#options.metrics.setPlanVersion(version);
    this.#options.onPlanApplied(plan);
  }

  #setStreamUp(stream: 'plan' | 'endpoints', up: boolean): void {
    this.#options.metrics.setStreamUp(stream, up, this.#options.clock.monotonicMs());
  }

  #onVerdict(stream: 'plan' | 'endpoints', verdict: Verdict): void {
    if (!verdict.applied) this.#options.metrics.countRefused(stream);
    this.#reporter.verdict(stream, verdict);
  }

  #createPlanFollower(): PlanFollower {
    return new PlanFollower({
      dataPlane: this.#options.dataPlane,
      log: this.#options.log,
      onApplied: (version, plan, line) => {
        this.#planIsInForce(version, plan);
        this.#reporter.planApplied();
        this.#state?.savePlan(line);
      },
      onVerdict: (verdict) => this.#onVerdict('plan', verdict),
      onTrust: (bundle) => {
        if (!this.#trust.accept(bundle)) return;
        this.#options.log.info({}, 'the operator sent a new CA bundle');
        this.#state?.saveTrust(bundle);
      },
      onUp: () => {
        this.#setStreamUp('plan', true);
        this.#reporter.operatorIsBack();
      },
      onDown: () => this.#setStreamUp('plan', false),
    });
  }

  #createEndpointsFollower(): EndpointsFollower {
    return new EndpointsFollower({
      dataPlane: this.#options.dataPlane,
      log: this.#options.log,
      onApplied: () => {
        this.#options.metrics.setEndpointsConfirmed(true);
        this.#state?.saveEndpoints(() => ({ version: this.#endpoints.version ?? '', sets: this.#endpoints.sets() }));
      },
      onVerdict: (verdict) => this.#onVerdict('endpoints', verdict),
      onUp: () => this.#setStreamUp('endpoints', true),
      onDown: () => this.#setStreamUp('endpoints', false),
    });
  }
}
