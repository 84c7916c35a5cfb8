// Keeps `caBundle` of the webhook's configuration equal to our trust bundle. The chart leaves the field out, so that no two writers fight
// over it, and of several replicas the one that leads writes it. Until the API server holds what makes it trust us no pod can be injected;
// `live` says so, and readiness waits for it.
import type { Clock } from '../../runtime/clock.ts';
import type { Logger } from '../../runtime/log.ts';
import type { Leadership } from '../elect/elector.ts';
import { ApiError } from '../watch/api-errors.ts';
import { failureKind } from '../watch/failure-kind.ts';
import { Outage } from '../watch/outage.ts';
import type { Certificates } from './certificates.ts';
import { type KubernetesApi, messageOf } from './kubernetes-api.ts';

const RETRY_DELAY_MS = 2_000;
const CHECK_INTERVAL_MS = 60_000;

interface WebhookConfiguration {
  metadata?: { resourceVersion?: string };
  webhooks?: { name: string; clientConfig: { caBundle?: string } }[];
}

export interface WebhookBundle {
  /** Begins to work; returns at once. */
  start(): void;
  stop(): void;
  /** Compares and patches now. Rejects where the API server refuses or does not answer. */
  check(): Promise<void>;
  /**
   * True when, by the last answer of the API server, every webhook of the configuration carries an authority to which what we serve leads.
   * An API server that does not answer changes nothing: what it knew it still knows, and readiness must not fall with it.
   */
  live(): boolean;
  /** Why it is not live; empty when it is. */
  problem(): string;
}

export interface WebhookBundleOptions {
  api: KubernetesApi;
  /** Name of the MutatingWebhookConfiguration; needs `get` and `patch` on it. */
  name: string;
  certificates: Pick<Certificates, 'trustBundle' | 'anchors' | 'onChange'>;
  leadership: Pick<Leadership, 'role' | 'onChange'>;
  clock: Clock;
  log: Logger;
}

/**
 * JSON Patch that puts the bundle where it is missing or another; empty where it is everywhere. Its test has it refused (422) where the
 * configuration was changed since it was read: the list may be another one, and a patch that comes late must not undo a newer bundle.
 */
export function bundlePatch({ metadata, webhooks = [] }: WebhookConfiguration, caBundle: string): object[] {
  const additions = webhooks.flatMap(({ clientConfig }, index) =>
    clientConfig.caBundle === caBundle
      ? []
      : [{ op: 'add', path: `/webhooks/${index}/clientConfig/caBundle`, value: caBundle }],
  );
  if (additions.length === 0) return [];
  return [{ op: 'test', path: '/metadata/resourceVersion', value: metadata?.resourceVersion }, ...additions];
}

class NotLiveError extends Error {
  override name = 'NotLiveError';
}

/**
 * Whether a failed check tells how things are, rather than that nobody could be asked, or did not know us. Of the 404s only that of an API
 * server is a deletion: what stands in between says it as well.
 */
function isKnowledge(error: unknown): boolean {
  return error instanceof NotLiveError || (error instanceof ApiError && error.reason === 'NotFound');
}

/** Whether an API server with this bundle trusts what leads to one of these authorities. */
function trusts(caBundle: string | undefined, anchors: readonly string[]): boolean {
  const bundle = Buffer.from(caBundle ?? '', 'base64').toString('utf8');
  return anchors.some((anchor) => bundle.includes(anchor));
}

export function createWebhookBundle(options: WebhookBundleOptions): WebhookBundle {
  const { api, name, certificates, leadership, clock, log } = options;
  const path = `/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/${name}`;
  const outage = new Outage({
    clock,
    log,
    level: 'warn',
    fields: { configuration: name },
    failed: 'the caBundle of the webhook could not be checked',
    lasts: 'the caBundle of the webhook still cannot be checked',
    over: 'the caBundle of the webhook is checked again',
  });
  let problem = 'not looked at yet';
  let stopped = false;
  let isRunning = false;
  /** Something changed while a check was under way. */
  let isDue = false;
  let cancelTimer = () => {};
  let removeListeners: (() => void)[] = [];

  async function check(): Promise<void> {
    const wanted = Buffer.from(certificates.trustBundle()).toString('base64');
    let configuration = await api.request<WebhookConfiguration>('GET', path);
    const patch = bundlePatch(configuration, wanted);
    const leads = leadership.role === 'Leading';
    const isTrusted = ({ webhooks = [] }: WebhookConfiguration) =>
      webhooks.every(({ clientConfig }) => trusts(clientConfig.caBundle, certificates.anchors()));
    if (patch.length > 0 && leads) {
      try {
        configuration = await api.request<WebhookConfiguration>('PATCH', path, {
          query: { fieldManager: 'breakwater-operator' },
          body: patch,
          contentType: 'application/json-patch+json',
        });
      } catch (error) {
        // What was read is known, whatever became of the write.
        throw isTrusted(configuration) ? error : new NotLiveError(messageOf(error), { cause: error });
      }
      log.info({ configuration: name }, 'caBundle of the webhook updated');
    }
    const webhooks = configuration.webhooks ?? [];
    if (webhooks.length === 0) throw new NotLiveError(`the MutatingWebhookConfiguration ${name} has no webhooks`);
    if (leads && bundlePatch(configuration, wanted).length > 0)
      throw new NotLiveError('the API server did not keep the caBundle');
    if (isTrusted(configuration)) return;
    throw new NotLiveError('the replica that leads has not put it there yet');
  }

  /** One after the other: of two checks the later answer may be the older one, and say of the present what was so before. */
  function run(): void {
    cancelTimer();
    isDue = isRunning;
    if (isRunning) return;
    isRunning = true;
    let failed = false;
    check()
      .then(() => {
        problem = '';
        outage.over();
      })
      .catch((error: unknown) => {
        failed = true;
        const own = error instanceof NotLiveError && error.cause === undefined ? error.message : undefined;
        outage.failed(own ?? failureKind(error instanceof NotLiveError ? error.cause : error), { err: error });
        if (problem !== '' || isKnowledge(error)) problem = messageOf(error);
      })
      .finally(() => {
        isRunning = false;
        if (stopped) return;
        if (isDue) run();
        else cancelTimer = clock.after(failed ? RETRY_DELAY_MS : CHECK_INTERVAL_MS, run);
      });
  }

  return {
    start() {
      removeListeners = [certificates.onChange(run), leadership.onChange(run)];
      run();
    },
    stop() {
      stopped = true;
      for (const remove of removeListeners) remove();
      cancelTimer();
    },
    check,
    live: () => problem === '',
    problem: () => problem,
  };
}
