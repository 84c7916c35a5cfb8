// Where statuses go in standalone mode: no object can hold them, so they are kept here and told in the log when they change.
import type { Logger } from '../../runtime/log.ts';
import { type OwnObject, ownKey } from '../watch/world-source.ts';
import { NOTE } from './texts.ts';
import { isSameStatus, type StatusSink, type WriteResult } from './writer.ts';

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

  write({ kind, namespace, name }: OwnObject, status: object): Promise<WriteResult> {
    const key = ownKey(kind, namespace, name);
    if (isSameStatus(this.#statuses.get(key), status)) return Promise.resolve('Unchanged');
    this.#statuses.set(key, status);
    const conditions: Condition[] = 'conditions' in status && Array.isArray(status.conditions) ? status.conditions : [];
    const fields = {
      object: key,
      summary: 'summary' in status ? status.summary : undefined,
      ...notesOf(conditions),
    };
    const failed = conditions.filter((condition) => condition.status === 'False');
    if (failed.length === 0) this.#log.info(fields, 'status changed');
    else this.#log.warn({ ...fields, conditions: failed }, 'status changed; something is not as it is wanted');
    return Promise.resolve('Written');
  }

  forget(key: string): void {
    this.#statuses.delete(key);
  }
}

/** Of conditions that are as they should be, what they say all the same: a field without effect, a service called at its ClusterIP. */
function notesOf(conditions: readonly Condition[]): { notes?: readonly string[] } {
  const notes = conditions.flatMap(({ status, message }) => {
    const start = typeof message === 'string' && status === 'True' ? message.indexOf(NOTE) : -1;
    return start < 0 ? [] : [String(message).slice(start + NOTE.length)];
  });
  return notes.length === 0 ? {} : { notes };
}
