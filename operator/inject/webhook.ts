// The admission webhook. It answers from what is already known, within the API server's patience, and never refuses a pod: whatever goes
// wrong, the pod starts without a sidecar and somebody is told.
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { Counter, Histogram, type Registry } from 'prom-client';
import { z } from 'zod';
import { parseBoundedJson } from '../../plan/bounded.ts';
import type { Clock } from '../../runtime/clock.ts';
import type { Logger } from '../../runtime/log.ts';
import type { CaptureMode } from '../compile/capture.ts';
import { type Birth, birthOf } from './bootstrap.ts';
import { certificatesOf } from './certificates.ts';
import { type Decision, type DecisionContext, decide, QUIET_REASONS, type SkipReason } from './decide.ts';
import { type Declared, isThere } from './declared.ts';
import { describeLeftOut, type LeftOut } from './loopback.ts';
import { type AddOperation, type PatchContext, patchFor } from './patch.ts';
import type { Pod, PodNamespace } from './pod.ts';
import { ReviewGate } from './review-gate.ts';
import { INJECTION_LABEL, type Settings } from './settings.ts';
import { tooLarge } from './size.ts';
import { tlsHostsOf } from './tls-hosts.ts';

export const INJECT_PATH = '/inject';
/** The API server takes requests of 3 MiB; the review wraps the object. */
const MAX_REVIEW_BYTES = 4 * 1024 * 1024;
/** Objects and lists in one: of a pod of the largest size that is nothing but short variables there are fewer. */
const MAX_REVIEW_CONTAINERS = 100_000;
/** Kubernetes cuts each warning at 256 characters. */
const MAX_WARNING_LENGTH = 256;
/** A namespace that was just made may reach our cache a moment after its first pod reaches us. */
const NAMESPACE_WAIT_MS = 1_000;
const CACHE_POLL_MS = 25;
/**
 * So may a ServiceDependency or a Service that was applied together with the pod's workload; what is not there when the pod is born, it
 * never learns. Pods that declare nothing wait too, so each controller has its pods wait once.
 */
const DECLARATIONS_WAIT_MS = 500;
const WAITED_LIMIT = 1_024;
/** Of warnings about one pod. */
const MAX_WARNINGS = 16;

const admissionReview = z.object({
  request: z.object({
    uid: z.string().min(1).max(256),
    kind: z.object({ group: z.string(), version: z.string(), kind: z.string() }).optional(),
    operation: z.string().optional(),
    subResource: z.string().optional(),
    namespace: z.string().optional(),
    name: z.string().optional(),
    dryRun: z.boolean().nullish(),
    object: z.unknown(),
  }),
});
type AdmissionRequest = z.infer<typeof admissionReview>['request'];

/** What became of one pod; for Events and status. */
export interface InjectionReport {
  namespace: string;
  /** Of the pod, or the prefix that its name will have. */
  name: string;
  /** Its controller, which exists already. */
  owner: { apiVersion: string; kind: string; name: string; uid: string } | undefined;
  injected: boolean;
  reason: SkipReason | 'Injected' | 'InternalError';
  message: string;
  /** What it declares and its sidecar does not get, without privileges. */
  leftOut: readonly LeftOut[];
  dryRun: boolean;
}

export interface InjectionMetrics {
  reviews: Counter<'result'>;
  seconds: Histogram;
}

export function createInjectionMetrics(registry: Registry): InjectionMetrics {
  const registers = [registry];
  return {
    reviews: new Counter({
      name: 'breakwater_inject_reviews_total',
      help: 'Admission reviews of pods by result: Injected, InternalError, or why the pod was left alone',
      labelNames: ['result'],
      registers,
    }),
    seconds: new Histogram({
      name: 'breakwater_inject_duration_seconds',
      help: 'How long the answer to an admission review took',
      buckets: [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5],
      registers,
    }),
  };
}

export interface InjectorOptions {
  clock: Clock;
  log: Logger;
  /** From a cache; undefined where it does not hold the namespace. */
  namespaceOf: (name: string) => PodNamespace | undefined;
  /** What a pod with these labels declares; from a cache. */
  declared: (namespace: string, labels: Readonly<Record<string, string>>) => readonly Declared[];
  clusterDomain: string;
  /** Today's authorities, PEM. */
  caBundle: () => string;
  operatorUrl: string;
  /** Of the operator. */
  version: string;
  defaults: Settings;
  imagePullPolicy?: PatchContext['imagePullPolicy'];
  podSecurityDefault?: DecisionContext['podSecurityDefault'];
  /** Told of each pod whose injection was decided. */
  report?: (report: InjectionReport) => void;
  metrics?: InjectionMetrics;
}

/** `response` of an AdmissionReview; always allowed. */
export interface AdmissionResponse {
  uid: string;
  allowed: true;
  patchType?: 'JSONPatch';
  /** Base64. */
  patch?: string;
  warnings?: string[];
  auditAnnotations: Record<string, string>;
}

const isPod = (request: AdmissionRequest) =>
  (request.kind === undefined || (request.kind.group === '' && request.kind.kind === 'Pod')) &&
  (request.operation ?? 'CREATE') === 'CREATE' &&
  (request.subResource ?? '') === '';

function ownerOf(pod: Pod): InjectionReport['owner'] {
  const owner = pod.metadata?.ownerReferences?.find((reference) => reference.controller === true);
  return owner && { apiVersion: owner.apiVersion, kind: owner.kind, name: owner.name, uid: owner.uid };
}

export class Injector {
  readonly #options: InjectorOptions;
  /** Controllers whose pods have waited for what they declare. */
  readonly #waited = new Set<string>();

  constructor(options: InjectorOptions) {
    this.#options = options;
  }

  /** Answers one request; never throws, never refuses. */
  async review(request: AdmissionRequest): Promise<AdmissionResponse> {
    const { clock, log, metrics } = this.#options;
    const startedMs = clock.monotonicMs();
    const response: AdmissionResponse = { uid: request.uid, allowed: true, auditAnnotations: {} };
    if (!isPod(request)) return response;
    const pod = (request.object ?? {}) as Pod;
    const namespace = request.namespace ?? pod.metadata?.namespace ?? '';
    const result = await this.#decide(pod, namespace);
    const reason = result.decision.inject ? 'Injected' : result.decision.reason;
    response.auditAnnotations = { injection: reason };
    const warnings = [...result.decision.warnings];
    if (result.patch.length > 0) {
      response.patchType = 'JSONPatch';
      response.patch = Buffer.from(JSON.stringify(result.patch)).toString('base64');
    } else if (!result.decision.inject && !isQuiet(result.decision.reason)) {
      warnings.unshift(`not injected by Breakwater (${reason}): ${result.decision.message}`);
      log.info({ namespace, pod: nameOf(pod, request), reason }, 'a pod is not injected');
    }
    const leftOut = result.birth?.leftOut ?? [];
    warnings.push(...(result.birth?.warnings ?? []), ...leftOut.map(describeLeftOut));
    if (warnings.length > 0) {
      const told = warnings.slice(0, MAX_WARNINGS);
      if (warnings.length > told.length) told.push(`and ${warnings.length - told.length} more warnings`);
      response.warnings = told.map((warning) => `breakwater: ${warning}`.slice(0, MAX_WARNING_LENGTH));
    }
    metrics?.reviews.inc({ result: reason });
    metrics?.seconds.observe((clock.monotonicMs() - startedMs) / 1000);
    this.#report(pod, request, namespace, result);
    return response;
  }

  async #decide(pod: Pod, namespaceName: string): Promise<Result> {
    const {
      defaults,
      podSecurityDefault = 'privileged',
      caBundle,
      operatorUrl,
      version,
      imagePullPolicy,
    } = this.#options;
    try {
      const namespace = await this.#namespace(namespaceName);
      const decided = decide(pod, { namespace, defaults, podSecurityDefault });
      if (!decided.inject) return { decision: decided, birth: undefined, patch: [] };
      const declared = await this.#declared(pod, namespaceName, decided.capture);
      const { hosts: tlsHosts, warnings } = tlsHostsOf(declared);
      const decision = { ...decided, warnings: [...decided.warnings, ...warnings] };
      const birth = this.#birth(pod, namespaceName, decision, declared);
      const context: PatchContext = {
        settings: decision.settings,
        capture: decision.capture,
        birth,
        certificates: certificatesOf(declared),
        tlsHosts,
        operatorUrl,
        caBundle: caBundle(),
        version,
        imagePullPolicy: imagePullPolicy ?? 'IfNotPresent',
      };
      const patch = patchFor(pod, context);
      const message = tooLarge(pod, patch);
      if (message === undefined) return { decision, birth, patch };
      const refused: Decision = { inject: false, reason: 'PodTooLarge', message, warnings: decision.warnings };
      return { decision: refused, birth: undefined, patch: [] };
    } catch (error) {
      this.#options.log.error({ err: error, namespace: namespaceName }, 'a pod could not be injected');
      const message = 'the operator failed, and its log says why; the pod starts without a sidecar';
      const decision: Failure = { inject: false, reason: 'InternalError', message, warnings: [] };
      return { decision, birth: undefined, patch: [] };
    }
  }

  async #namespace(name: string): Promise<PodNamespace | undefined> {
    const { clock, namespaceOf } = this.#options;
    const deadlineMs = clock.monotonicMs() + NAMESPACE_WAIT_MS;
    for (;;) {
      const namespace = namespaceOf(name);
      if (namespace || clock.monotonicMs() >= deadlineMs) return namespace;
      await clock.sleep(CACHE_POLL_MS);
    }
  }

  #birth(
    pod: Pod,
    namespace: string,
    { settings, capture }: Injected,
    declared: readonly Declared[],
  ): Birth | undefined {
    if (capture === 'iptables') return undefined;
    return birthOf(pod, { settings, capture, namespace, clusterDomain: this.#options.clusterDomain, declared });
  }

  async #declared(pod: Pod, namespace: string, capture: CaptureMode): Promise<readonly Declared[]> {
    const { clock, declared } = this.#options;
    const labels = pod.metadata?.labels ?? {};
    // All but certificates, and which hosts need TLS before its first plan, it learns later, and most pods need none: no pod is to be late for those that do.
    if (capture === 'iptables') return declared(namespace, labels);
    const owner = ownerOf(pod)?.uid;
    const waitMs = owner !== undefined && this.#waited.has(owner) ? 0 : DECLARATIONS_WAIT_MS;
    const deadlineMs = clock.monotonicMs() + waitMs;
    for (;;) {
      const found = declared(namespace, labels);
      const complete = found.length > 0 && found.every(({ service }) => service === null || isThere(service.service));
      if (complete) return found;
      if (clock.monotonicMs() >= deadlineMs) {
        if (owner !== undefined) this.#remember(owner);
        return found;
      }
      await clock.sleep(CACHE_POLL_MS);
    }
  }

  #remember(owner: string): void {
    this.#waited.delete(owner);
    this.#waited.add(owner);
    const oldest = this.#waited.values().next().value;
    if (this.#waited.size > WAITED_LIMIT && oldest !== undefined) this.#waited.delete(oldest);
  }

  #report(pod: Pod, request: AdmissionRequest, namespace: string, { decision, birth }: Result): void {
    // The API server asks of no other namespace; whoever else calls must not have us tell of what does not concern us.
    if (this.#options.namespaceOf(namespace)?.labels[INJECTION_LABEL] !== 'enabled') return;
    try {
      this.#options.report?.({
        namespace,
        name: nameOf(pod, request),
        owner: ownerOf(pod),
        injected: decision.inject,
        reason: decision.inject ? 'Injected' : decision.reason,
        message: decision.inject ? '' : decision.message,
        leftOut: birth?.leftOut ?? [],
        dryRun: request.dryRun === true,
      });
    } catch (error) {
      this.#options.log.error({ err: error }, 'the report of an injection failed');
    }
  }
}

type Injected = Decision & { inject: true };
interface Result {
  decision: Decision | Failure;
  birth: Birth | undefined;
  patch: AddOperation[];
}
type Failure = { inject: false; reason: 'InternalError'; message: string; warnings: readonly string[] };

const isQuiet = (reason: SkipReason | 'InternalError') => reason !== 'InternalError' && QUIET_REASONS.has(reason);

function nameOf(pod: Pod, request: AdmissionRequest): string {
  return request.name || pod.metadata?.name || pod.metadata?.generateName || '';
}

const badReview = (message: string) => ({ status: 400, reason: 'BadReview', message });
const BUSY = { status: 503, reason: 'Busy', message: 'too many large reviews are being read; try again' };

/** Adds POST /inject to the server. */
export function registerInjector(fastify: FastifyInstance, options: InjectorOptions): void {
  const injector = new Injector(options);
  const gate = new ReviewGate();
  const onRequest = async (request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply | undefined> =>
    gate.enter(request, reply) ? undefined : reply.code(503).header('connection', 'close').send(BUSY);
  const handler = async (request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> => {
    const review = admissionReview.safeParse(request.body);
    if (!review.success) {
      // Without a uid there is nothing that could be answered; the API server then goes by the failurePolicy.
      const issue = review.error.issues[0];
      const message = `this is not an AdmissionReview of admission.k8s.io/v1: ${issue?.path.join('.')}: ${issue?.message}`;
      return reply.code(400).send(badReview(message));
    }
    const response = await injector.review(review.data.request);
    return reply.send({ apiVersion: 'admission.k8s.io/v1', kind: 'AdmissionReview', response });
  };
  void fastify.register((scope, _options, done) => {
    scope.removeContentTypeParser('application/json');
    scope.addContentTypeParser('application/json', { parseAs: 'string' }, (_request, body, parsed) => {
      const json = parseBoundedJson(String(body), MAX_REVIEW_CONTAINERS);
      if (json.ok) parsed(null, json.value);
      else parsed(Object.assign(new Error(json.message), { statusCode: 400 }));
    });
    scope.setErrorHandler((error: { statusCode?: number; message: string }, _request, reply) => {
      const { statusCode: status = 500, message } = error;
      if (status >= 500) options.log.error({ err: error }, 'an admission review failed');
      return reply.code(status).send({ ...badReview(message), status });
    });
    scope.post(INJECT_PATH, { bodyLimit: MAX_REVIEW_BYTES, onRequest }, (request, reply) =>
      gate.whileWorkedOn(request, () => handler(request, reply)),
    );
    done();
  });
}
