// The Lease of the API server (coordination.k8s.io/v1), read and written under its resourceVersion.
import { z } from 'zod';
import { messageOf, statusOf } from '../certificates/kubernetes-api.ts';
import { microTime } from '../reconcile/events.ts';
import type { ApiClient } from '../watch/api-client.ts';
import type { Answer, Command, LeaseRecord, StoredLease } from './election.ts';

/** How the election reaches the API server. Never rejects. */
export interface LeaseStore {
  ask(command: Command): Promise<Answer & { problem?: string }>;
}

const time = z
  .string()
  .transform((text) => Date.parse(text))
  .refine((unixMs) => !Number.isNaN(unixMs))
  .catch(0);

const leaseSpec = z.object({
  holderIdentity: z.string().catch(''),
  leaseDurationSeconds: z.number().min(0).catch(0),
  acquireTime: time,
  renewTime: time,
  leaseTransitions: z.number().int().min(0).catch(0),
});

/** Whatever else stands in it belongs to others, and stays. */
const leaseObject = z.looseObject({
  metadata: z.looseObject({ resourceVersion: z.string() }),
  spec: z.looseObject({}).optional(),
});
type LeaseObject = z.infer<typeof leaseObject>;

export interface LeaseStoreOptions {
  api: Pick<ApiClient, 'request'>;
  namespace: string;
  name: string;
  /** Of one call. */
  timeoutMs: number;
}

/** Needs `get` and `update` on this one Lease; and `create` on Leases of the namespace, for the case that somebody deletes it. */
export function createLeaseStore({ api, namespace, name, timeoutMs }: LeaseStoreOptions): LeaseStore {
  const collection = `/apis/coordination.k8s.io/v1/namespaces/${namespace}/leases`;
  const path = `${collection}/${name}`;
  const created = {
    apiVersion: 'coordination.k8s.io/v1',
    kind: 'Lease',
    metadata: { name, namespace, labels: { 'app.kubernetes.io/managed-by': 'breakwater-operator' } },
  };
  let known: LeaseObject | undefined;

  async function send(command: Command): Promise<StoredLease> {
    const options = { timeoutMs, repeatable: false };
    let answer: unknown;
    if (command.kind === 'read') answer = await api.request('GET', path, options);
    else if (command.kind === 'create') {
      answer = await api.request('POST', collection, {
        ...options,
        body: { ...created, spec: specOf(command.record) },
      });
    } else {
      const base = known?.metadata.resourceVersion === command.revision ? known : created;
      const metadata = { ...base.metadata, resourceVersion: command.revision };
      const spec = { ...known?.spec, ...specOf(command.record) };
      answer = await api.request('PUT', path, { ...options, body: { ...base, metadata, spec } });
    }
    known = leaseObject.parse(answer);
    return { record: recordOf(known), revision: known.metadata.resourceVersion };
  }

  return {
    async ask(command) {
      try {
        return { kind: 'lease', lease: await send(command) };
      } catch (error) {
        const status = statusOf(error);
        if (status === 404 && command.kind !== 'create') return { kind: 'absent' };
        if (status === 409) return { kind: 'conflict' };
        return { kind: 'failed', problem: messageOf(error) };
      }
    },
  };
}

function recordOf({ spec }: LeaseObject): LeaseRecord {
  const read = leaseSpec.parse(spec ?? {});
  return {
    holder: read.holderIdentity,
    durationMs: read.leaseDurationSeconds * 1000,
    acquiredUnixMs: read.acquireTime,
    renewedUnixMs: read.renewTime,
    transitions: read.leaseTransitions,
  };
}

function specOf(record: LeaseRecord): object {
  return {
    holderIdentity: record.holder,
    leaseDurationSeconds: Math.ceil(record.durationMs / 1000),
    // Six digits: the API server refuses the three of `toISOString`, and nobody would ever lead.
    acquireTime: microTime(record.acquiredUnixMs),
    renewTime: microTime(record.renewedUnixMs),
    leaseTransitions: record.transitions,
  };
}
