// What the parts of an exchange share of the request in progress. One object per client connection, reused for every request on it.
import type { RequestHead } from '../../http1/request-head.ts';
import type { RouteMetrics } from '../../metrics/route-metrics.ts';
import type { AnswerWatch } from '../../policies/last-good.ts';
import type { ProxyContext } from '../context.ts';
import type { DependencyRuntime } from '../dependency/dependency.ts';
import type { RoutePolicy } from '../dependency/route-policies.ts';
import { mayRepeat } from './attempts.ts';
import type { Downstream } from './downstream.ts';
import { ReplayBody } from './replay-body.ts';
import { RequestShadow } from './request-shadow.ts';
import { Rescue } from './rescue.ts';

/** What is sent to the dependency: the head as the application wrote it, and what of it is ours to say. A leg puts it into its protocol. */
export interface OutgoingRequest {
  readonly head: RequestHead;
  readonly host: string;
  readonly correlationId: string;
  /** The end-to-end fields of the head as they are sent; see RequestHead. */
  readonly fields: string;
  /** Number of the attempt, from 1; 0: the dependency is not told. */
  readonly attempt: number;
  /** What x-breakwater-deadline says; empty: nothing. */
  readonly deadline: string;
  /** What grpc-timeout says; empty: nothing. */
  readonly grpcTimeout: string;
  readonly hasBody: boolean;
}

export class CurrentRequest implements OutgoingRequest {
  readonly client: Downstream;
  readonly context: ProxyContext;
  readonly head: RequestHead;
  readonly replay: ReplayBody;
  readonly shadow: RequestShadow;
  readonly rescue: Rescue;
  /** Whom the application called. */
  declared: DependencyRuntime;
  /** Who is asked now: another one, where a fallback says so. */
  dependency: DependencyRuntime;
  policy: RoutePolicy;
  /** What the request is counted by, whoever answers it. */
  metrics: RouteMetrics;
  /** The field line of an injected delay, with CR LF before it; empty: there was none. */
  faultMark = '';
  /** With it, field lines that say what took the place of a failure; empty for most. */
  marks = '';
  /** The answer is kept, or measured, as it passes by. */
  recording: AnswerWatch | null = null;
  host = '';
  correlationId = '';
  fields = '';
  attempt = 0;
  /** Copies of it that are out beside the one that is looked at. */
  rivals = 0;
  deadline = '';
  grpcTimeout = '';
  /** The deadline of a call of gRPC that its grpc-timeout says, monotonic milliseconds; infinity: it says none. */
  grpcDeadlineMs = Number.POSITIVE_INFINITY;
  hasBody = false;
  /** The deadline that the request came with, in Unix milliseconds of its caller's clock; below zero: none. */
  receivedDeadlineUnixMs = -1;
  /** That one, and not our own, ends the request. */
  shortened = false;
  /** The application was told to go on with its body. */
  continued = false;
  /** All of the body has been received. */
  bodyDone = false;
  startMs = 0;

  constructor(client: Downstream, context: ProxyContext, dependency: DependencyRuntime, head: RequestHead) {
    this.client = client;
    this.context = context;
    this.head = head;
    this.declared = dependency;
    this.dependency = dependency;
    this.policy = dependency.policyFor('', '/', '');
    this.metrics = this.policy.metrics;
    this.replay = new ReplayBody(context.replayPool);
    this.shadow = new RequestShadow(context.ticker, this.replay);
    this.rescue = new Rescue(this);
  }

  begin(host: string, correlationId: string, hasBody: boolean, nowMs: number): void {
    const { method, path, fields } = this.head;
    this.dependency = this.declared;
    this.policy = this.dependency.policyFor(method, path, fields);
    this.metrics = this.policy.metrics;
    this.faultMark = '';
    this.marks = '';
    this.host = this.dependency.hostFor(host);
    this.correlationId = correlationId;
    this.hasBody = hasBody;
    this.continued = false;
    this.bodyDone = !hasBody;
    this.startMs = nowMs;
    this.rescue.begin();
    // Over HTTP/2 a dependency may refuse what was sent already.
    const mayGoAgain = this.client.http2 || mayRepeat(this.policy, this.head) || this.rescue.mayAskAnother(this.policy);
    this.replay.begin(hasBody && mayGoAgain);
  }

  /** Nothing of it is kept. */
  end(): void {
    this.shadow.end();
    this.recording?.discard();
    this.recording = null;
    this.replay.clear();
  }

  /** A fault was injected: every answer says so. */
  delayed(): void {
    const mark = '\r\nBreakwater-Fault: delay';
    this.marks = mark + this.marks.slice(this.faultMark.length);
    this.faultMark = mark;
  }
}
