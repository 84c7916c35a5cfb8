// One check of one endpoint, on a connection of its own: by GET in HTTP/1.1, where the head of the answer is the end of it, or by a call of gRPC,
// to its end. Nothing of it counts as a request, an attempt or a load.
import type { HealthCheckPlan } from '../../../plan/policies/health-check.ts';
import { isShadowKey } from '../../../plan/policies/state-key.ts';
import { HEALTH_CHECK_TARGET, healthProblem, healthRequest, MAX_HEALTH_ANSWER_BYTES } from '../../grpc/health.ts';
import { GrpcStatus, grpcTimeoutText, parseGrpcStatus } from '../../grpc/status.ts';
import { fieldValue } from '../../http1/field-value.ts';
import { RequestHead } from '../../http1/request-head.ts';
import type { ResponseHead } from '../../http1/response-head.ts';
import { type CheckedEndpoint, isExpectedStatus } from '../../policies/health-check.ts';
import type { TimerNode } from '../../policies/timer-wheel.ts';
import { isTlsFailure, sentenceOf, type TlsFailure } from '../../tls/failures.ts';
import type { ProxyContext } from '../context.ts';
import type { OutgoingRequest } from '../exchange/current-request.ts';
import type {
  ConnectFailure,
  LegSource,
  ResponseReceiver,
  UpstreamEndpoint,
  UpstreamLeg,
} from '../exchange/upstream.ts';
import type { DependencyRuntime } from './dependency.ts';
import type { HealthEntry } from './endpoint-choice.ts';

const USER_AGENT = '\r\nUser-Agent: breakwater-health-check';
const CONNECT_FAILURES = {
  refused: 'the connection was refused',
  timeout: 'the connection was not made in time',
  unreachable: 'the address cannot be reached',
} as const satisfies Record<Exclude<ConnectFailure, TlsFailure>, string>;

function whyNotConnected(failure: ConnectFailure): string {
  return isTlsFailure(failure) ? sentenceOf(failure) : CONNECT_FAILURES[failure];
}

export interface Check {
  dependency: DependencyRuntime;
  health: HealthEntry;
  checked: CheckedEndpoint;
}

export interface ProbeEnvironment {
  context: ProxyContext;
  /** Somebody still wants to know. */
  isWanted: () => boolean;
  onOver: () => void;
}

export abstract class Probe implements ResponseReceiver, OutgoingRequest, TimerNode {
  wheelSlot = -1;
  wheelPrevious: TimerNode | null = null;
  wheelNext: TimerNode | null = null;
  wheelAtMs = 0;
  readonly check: Check;
  readonly head = new RequestHead();
  readonly host: string;
  readonly correlationId: string;
  abstract readonly fields: string;
  readonly attempt = 0;
  readonly deadline = '';
  abstract readonly grpcTimeout: string;
  abstract readonly hasBody: boolean;
  readonly #environment: ProbeEnvironment;
  #endpoint: UpstreamEndpoint | null = null;
  #leg: UpstreamLeg | null = null;

  constructor(check: Check, environment: ProbeEnvironment) {
    this.check = check;
    this.#environment = environment;
    this.host = check.health.plan.host ?? check.dependency.plan.authority;
    this.correlationId = environment.context.correlationId();
  }

  /** `endpoint`: of this check alone. */
  begin(endpoint: UpstreamEndpoint): void {
    const { health, checked } = this.check;
    const { ticker } = this.#environment.context;
    const nowMs = ticker.nowMs();
    health.checks.begin(checked, nowMs);
    ticker.arm(this, nowMs + health.plan.timeoutMs);
    this.#endpoint = endpoint;
    this.#leg = this.legsOf(endpoint).connect(this);
  }

  onConnected(): void {
    if (this.#leg) this.send(this.#leg);
  }

  onUpstreamClosed(failure: ConnectFailure | null): void {
    this.settle(failure === null ? 'the connection was lost before an answer' : this.connectProblem(failure));
  }

  expire(): void {
    this.settle(`no answer within ${this.check.health.plan.timeoutMs} ms`);
  }

  /** Without a result: nobody wants to know any more. */
  giveUp(): void {
    this.check.health.checks.cancel(this.check.checked);
    this.#end();
  }

  protected abstract legsOf(endpoint: UpstreamEndpoint): LegSource;
  protected abstract send(leg: UpstreamLeg): void;
  protected abstract connectProblem(failure: ConnectFailure): string;
  abstract onResponseHead(head: ResponseHead): boolean;
  abstract onResponseData(buffer: Buffer, start: number, end: number): void;
  abstract onResponseEnd(trailers: string): void;
  abstract onInvalidResponse(): void;

  /** `problem`: why it fails; empty: it passes. */
  protected settle(problem: string): void {
    const { dependency, health, checked } = this.check;
    const { context, isWanted } = this.#environment;
    if (isWanted()) {
      const { healthy } = checked;
      health.checks.settle(checked, problem, context.ticker.nowMs());
      context.metrics.countHealthCheck(dependency.label, health.key, problem === '' ? 'passed' : 'failed');
      if (checked.healthy !== healthy) this.#tellTurn();
    } else {
      health.checks.cancel(checked);
    }
    this.#end();
  }

  #tellTurn(): void {
    const { dependency, health, checked } = this.check;
    const facts = { dependency: dependency.plan.id, check: health.key, endpoint: checked.name };
    const { log } = this.#environment.context;
    // Its key says that it is one in shadow, and nobody is to be woken by it.
    if (isShadowKey(health.key)) {
      const { healthy, problem } = checked;
      log.info({ ...facts, healthy, problem }, 'by health checks in shadow the endpoint would be another than before');
    } else if (checked.healthy) log.info(facts, 'the endpoint passes its health checks again');
    else log.warn({ ...facts, problem: checked.problem }, 'the endpoint fails its health checks');
  }

  #end(): void {
    const leg = this.#leg;
    this.#leg = null;
    this.#environment.context.ticker.disarm(this);
    // Nothing of it is kept for another check.
    this.#endpoint?.remove();
    if (leg) {
      leg.receiver = null;
      leg.destroy();
    }
    this.#environment.onOver();
  }

  onInformational(): void {}
  onUpstreamDrain(): void {}
  onTunnelEnd(): void {}
  onTunnelClosed(): void {}
  onResponseFlush(): boolean {
    return true;
  }
  onTunnelData(): boolean {
    return true;
  }
}

export class HttpProbe extends Probe {
  readonly fields = `${USER_AGENT}\r\nAccept: */*`;
  readonly grpcTimeout = '';
  readonly hasBody = false;

  constructor(check: Check, environment: ProbeEnvironment) {
    super(check, environment);
    this.head.method = 'GET';
    this.head.target = check.health.plan.path ?? '/';
  }

  protected legsOf(endpoint: UpstreamEndpoint): LegSource {
    return endpoint;
  }

  protected send(leg: UpstreamLeg): void {
    leg.sendHead(this, this);
    leg.flush();
  }

  protected connectProblem(failure: ConnectFailure): string {
    return whyNotConnected(failure);
  }

  onResponseHead(head: ResponseHead): boolean {
    const isExpected = isExpectedStatus(this.check.health.plan.expectedStatuses ?? [], head.status);
    this.settle(isExpected ? '' : `the answer had status ${head.status}`);
    return false;
  }

  onInvalidResponse(): void {
    this.settle('the answer is no valid HTTP/1.1');
  }

  // What an answer has beyond its head is of no interest.
  onResponseData(): void {}
  onResponseEnd(): void {}
}

export class GrpcProbe extends Probe {
  readonly fields = `${USER_AGENT}\r\nContent-Type: application/grpc`;
  readonly grpcTimeout: string;
  readonly hasBody = true;
  readonly #service: string;
  #content = Buffer.alloc(0);

  constructor(check: Check, environment: ProbeEnvironment, { service }: NonNullable<HealthCheckPlan['grpc']>) {
    super(check, environment);
    this.#service = service;
    this.grpcTimeout = grpcTimeoutText(check.health.plan.timeoutMs);
    this.head.method = 'POST';
    this.head.target = HEALTH_CHECK_TARGET;
    this.head.acceptsTrailers = true;
  }

  protected legsOf(endpoint: UpstreamEndpoint): LegSource {
    return endpoint.http2;
  }

  protected send(leg: UpstreamLeg): void {
    const request = healthRequest(this.#service);
    leg.sendHead(this, this);
    leg.sendData(request, 0, request.length);
    leg.sendEnd('');
    leg.flush();
  }

  /** A server that does not begin in HTTP/2 counts as one that is not reached. */
  protected connectProblem(failure: ConnectFailure): string {
    const why = whyNotConnected(failure);
    return failure === 'refused' || failure === 'unreachable' ? `${why}, or HTTP/2 is not spoken there` : why;
  }

  onResponseHead(head: ResponseHead): boolean {
    if (head.grpcStream) return true;
    // OK alone is no message that says how the server is.
    if (head.grpcStatus < 0) this.settle(`the answer had status ${head.status}, and none of gRPC`);
    else this.settle(callProblem(head.grpcStatus) || 'the answer is no message of grpc.health.v1');
    return false;
  }

  onResponseData(buffer: Buffer, start: number, end: number): void {
    this.#content = Buffer.concat([this.#content, buffer.subarray(start, end)]);
    if (this.#content.length > MAX_HEALTH_ANSWER_BYTES) this.settle('the answer is longer than any of grpc.health.v1');
  }

  onResponseEnd(trailers: string): void {
    const status = parseGrpcStatus(fieldValue(trailers, 'grpc-status') ?? '');
    this.settle(callProblem(status) || healthProblem(this.#content));
  }

  onInvalidResponse(): void {
    this.settle('the answer is no valid HTTP/2');
  }
}

/** Empty: the call was answered. */
function callProblem(status: number): string {
  if (status === 0) return '';
  if (status === GrpcStatus.Unimplemented) return 'the server does not offer grpc.health.v1.Health (Unimplemented)';
  if (status === GrpcStatus.NotFound) return 'the server does not know the service that is asked for (NotFound)';
  const named = Object.entries(GrpcStatus).find(([, code]) => code === status);
  return `the call ended with the gRPC status ${named?.[0] ?? status}`;
}
