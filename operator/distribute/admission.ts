// Who asks, and what is theirs: a sidecar is given what belongs to the pod that its token proves, whatever it says of itself.
import type { Clock } from '../../runtime/clock.ts';
import type { Logger } from '../../runtime/log.ts';
import type { CompiledWorkload } from '../compile/result.ts';
import type { Authenticator, PodIdentity, Refusal } from './authenticate.ts';
import type { DistributorMetrics } from './metrics.ts';
import type { EndpointsSnapshot, PlanSnapshot, Snapshots } from './snapshots.ts';

/** How often the answer to "which workload" is asked anew because a publication came in between. */
const MAX_ADMISSION_ROUNDS = 5;

/** A pod that proved who it is, and its workload. */
export interface Admitted {
  ok: true;
  pod: PodIdentity;
  plan: PlanSnapshot;
  endpoints: EndpointsSnapshot;
  expiresUnixMs: number;
}

export interface AdmissionOptions {
  clock: Clock;
  log: Logger;
  authenticator: Authenticator;
  /**
   * The workload of a pod by its present labels, one without dependencies where no ServiceDependency selects it; undefined where no such
   * pod exists (or its name belongs to another uid by now). Rejects where that cannot be known at the moment.
   */
  workloadOfPod: (pod: PodIdentity) => Promise<CompiledWorkload | undefined>;
  metrics?: DistributorMetrics;
}

const refuse = (status: Refusal['status'], reason: string, message: string): Refusal => ({
  ok: false,
  status,
  reason,
  message,
});

export class Admission {
  readonly #options: AdmissionOptions;
  readonly #snapshots: Snapshots;
  #closed = false;

  constructor(options: AdmissionOptions, snapshots: Snapshots) {
    this.#options = options;
    this.#snapshots = snapshots;
  }

  /** From here on everybody is sent to another replica. */
  close(): void {
    this.#closed = true;
  }

  /**
   * Finds out who asks and what is theirs. `claimedWorkload` is what a client says of itself; it is never believed, and refused when it is
   * not true, so that a misconfigured client learns of it. `source`: the address that it came from.
   */
  async admit(
    authorization: string | undefined,
    claimedWorkload: string | undefined,
    source?: string,
  ): Promise<Admitted | Refusal> {
    const answer = await this.#decide(authorization, claimedWorkload, source);
    if (!answer.ok) {
      this.#options.metrics?.refusals.inc({ reason: answer.reason });
      this.#options.log.debug({ reason: answer.reason, status: answer.status }, 'a request was refused');
    }
    return answer;
  }

  async #decide(
    authorization: string | undefined,
    claimedWorkload: string | undefined,
    source: string | undefined,
  ): Promise<Admitted | Refusal> {
    if (this.#closed) return refuse(503, 'ShuttingDown', 'this replica of the operator is stopping; try again');
    const authentication = await this.#options.authenticator.authenticate(authorization, source);
    if (!authentication.ok) return authentication;
    const { pod, expiresUnixMs } = authentication;
    for (let round = 0; round < MAX_ADMISSION_ROUNDS; round += 1) {
      const generation = this.#snapshots.generation;
      if (generation === 0) return refuse(503, 'NotSynced', 'the operator has not read the cluster yet; try again');
      let workload: CompiledWorkload | undefined;
      try {
        workload = await this.#options.workloadOfPod(pod);
      } catch (error) {
        this.#options.log.warn(
          { err: error, pod: `${pod.namespace}/${pod.name}` },
          'the workload of a pod could not be found out',
        );
        return refuse(503, 'PodUnknown', 'the pod could not be looked up at the moment; try again');
      }
      if (this.#snapshots.generation !== generation) continue;
      if (!workload)
        return refuse(404, 'PodNotFound', `there is no pod ${pod.namespace}/${pod.name} with the uid of the token`);
      if (claimedWorkload !== undefined && claimedWorkload !== workload.id) {
        const whose = `the token belongs to pod ${pod.namespace}/${pod.name} of workload "${workload.id}"`;
        return refuse(403, 'NotYourWorkload', `${whose}; it may not ask for "${claimedWorkload.slice(0, 256)}"`);
      }
      this.#snapshots.adopt(workload, this.#options.clock.monotonicMs());
      const plan = this.#snapshots.plan(workload.id);
      const endpoints = this.#snapshots.endpoints(workload.id);
      if (!plan || !endpoints)
        return refuse(503, 'PlanTooLarge', this.#snapshots.tooLarge.get(workload.id) ?? 'there is no plan yet');
      return { ok: true, pod, plan, endpoints, expiresUnixMs };
    }
    return refuse(503, 'Busy', 'the cluster changes faster than the question could be answered; try again');
  }
}
