// Writes a status by server-side apply on the status subresource: no read before, no fight over fields that others own, and an object that
// was deleted meanwhile is not created again.
//
// Each write names the version of the object that it was decided from, and the API server refuses it where there is a newer one. The fence of
// the lead (watch/fence.ts) cannot do this: the kernel may stop a process behind the last look at the clock, and a network may hold back
// what was sent. What such a write carries is older than what the replica that leads since has written, and loses to it.
import { isDeepStrictEqual } from 'node:util';
import type { OperatorMetrics } from '../metrics.ts';
import { type ApiClient, CONTENT_TYPES } from '../watch/api-client.ts';
import { ApiError } from '../watch/api-errors.ts';
import { isBefore } from '../watch/resource-version.ts';
import type { OwnObject } from '../watch/world-source.ts';

export const FIELD_MANAGER = 'breakwater-operator';
const API_VERSION = 'breakwater.dev/v1alpha1';
const PLURALS = { ServiceDependency: 'servicedependencies', ResiliencePolicy: 'resiliencepolicies' } as const;

/** `Missed`: the object is gone, or another than the one that was looked at. Whoever watches brings that; where nothing comes, it is to be tried again. */
export type WriteResult = 'Written' | 'Unchanged' | 'Missed';

/** Where statuses go: into the objects of a cluster; in standalone mode, where nothing can hold them, into the log. */
export interface StatusSink {
  /** Writes where something differs from what stands there. Rejects where it could not. */
  write(object: OwnObject, status: object, signal: AbortSignal): Promise<WriteResult>;
  /** The object is gone. */
  forget(key: string): void;
}

interface Written {
  uid: string;
  wanted: object;
  /** What the API server made of it: it may hold fields of other writers beside ours. */
  stored: unknown;
  resourceVersion: string;
}

export class StatusWriter implements StatusSink {
  readonly #api: Pick<ApiClient, 'request'>;
  readonly #metrics: OperatorMetrics;
  readonly #written = new Map<string, Written>();

  constructor(api: Pick<ApiClient, 'request'>, metrics: OperatorMetrics) {
    this.#api = api;
    this.#metrics = metrics;
    for (const kind of Object.keys(PLURALS)) {
      for (const result of ['success', 'conflict', 'error']) metrics.statusWrites.inc({ kind, result }, 0);
    }
  }

  async write(object: OwnObject, status: object, signal: AbortSignal): Promise<WriteResult> {
    const { kind, namespace, name, uid } = object;
    const key = `${kind}/${namespace}/${name}`;
    if (!this.#isNeeded(key, object, status)) return 'Unchanged';
    const path = `/apis/${API_VERSION}/namespaces/${namespace}/${PLURALS[kind]}/${name}/status`;
    try {
      const answer = await this.#api.request<{ status?: unknown; metadata?: { resourceVersion?: string } }>(
        'PATCH',
        path,
        {
          query: { fieldManager: FIELD_MANAGER, force: true },
          contentType: CONTENT_TYPES.apply,
          // With the uid, an object that was deleted and made again under the same name is a conflict, not the target.
          body: {
            apiVersion: API_VERSION,
            kind,
            metadata: { name, namespace, uid, resourceVersion: this.#versionOf(key, object) },
            status,
          },
          signal,
        },
      );
      const resourceVersion = answer.metadata?.resourceVersion ?? '';
      this.#written.set(key, { uid, wanted: status, stored: answer.status, resourceVersion });
      this.#metrics.statusWrites.inc({ kind, result: 'success' });
      return 'Written';
    } catch (error) {
      if (error instanceof ApiError && (error.status === 404 || error.status === 409)) {
        this.#written.delete(key);
        this.#metrics.statusWrites.inc({ kind, result: 'conflict' });
        return 'Missed';
      }
      if (!signal.aborted) this.#metrics.statusWrites.inc({ kind, result: 'error' });
      throw error;
    }
  }

  forget(key: string): void {
    this.#written.delete(key);
  }

  /** The newest one that is known: a watch may be behind what we wrote ourselves. */
  #versionOf(key: string, { uid, resourceVersion }: OwnObject): string | undefined {
    const written = this.#written.get(key);
    const isAhead = written?.uid === uid && isBefore(resourceVersion ?? '', written.resourceVersion);
    return isAhead ? written.resourceVersion : resourceVersion;
  }

  #isNeeded(key: string, object: OwnObject, wanted: object): boolean {
    if (isSameStatus(object.status, wanted)) return false;
    const written = this.#written.get(key);
    if (written?.uid !== object.uid || !isSameStatus(written.wanted, wanted)) return true;
    // A watch that is behind still shows what stood there before.
    if (isBefore(object.resourceVersion ?? '', written.resourceVersion)) return false;
    // A field that another writer put into the status is not ours to remove, and no reason to write for ever.
    return !isSameStatus(written.stored, object.status);
  }
}

/** Lists in a status are maps by key, and the API server keeps an order of its own: order does not count. Absent equals undefined. */
export function isSameStatus(a: unknown, b: unknown): boolean {
  return isDeepStrictEqual(normalised(a), normalised(b));
}

function normalised(value: unknown): unknown {
  if (Array.isArray(value)) {
    return value.map((item) => JSON.stringify(normalised(item))).sort();
  }
  if (typeof value !== 'object' || value === null) return value;
  const entries = Object.entries(value).filter(([, field]) => field !== undefined);
  entries.sort(([x], [y]) => (x < y ? -1 : 1));
  return Object.fromEntries(entries.map(([name, field]) => [name, normalised(field)]));
}
