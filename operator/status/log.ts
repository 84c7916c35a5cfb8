// Where statuses go in standalone mode: no object can hold them, so they are kept here and told in the log when they change.
import type { Logger } from '../../runtime/log.ts';
import { type OwnObject, ownKey } from '../watch/world-source.ts';
import { isSameStatus, type StatusSink } from './writer.ts';

interface Condition {
  type?: unknown;
  status?: unknown;
  reason?: unknown;
  message?: unknown;
}

export class StatusLog implements StatusSink {
  readonly #log: Logger;
  readonly #statuses = new Map<string, object>();

  constructor(log: Logger) {
    this.#log = log;
  }

  /** By ownKey. */
  get(key: string): object | undefined {
    return this.#statuses.get(key);
  }

  write({ kind, namespace, name }: OwnObject, status: object): Promise<boolean> {
    const key = ownKey(kind, namespace, name);
    if (isSameStatus(this.#statuses.get(key), status)) return Promise.resolve(false);
    this.#statuses.set(key, status);
    const conditions: Condition[] = 'conditions' in status && Array.isArray(status.conditions) ? status.conditions : [];
    const fields = { object: key, summary: 'summary' in status ? status.summary : undefined };
    const failed = conditions.filter((condition) => condition.status === 'False');
    if (failed.length === 0) this.#log.info(fields, 'status changed');
    else this.#log.warn({ ...fields, conditions: failed }, 'status changed; something is not as it is wanted');
    return Promise.resolve(true);
  }

  forget(key: string): void {
    this.#statuses.delete(key);
  }
}
