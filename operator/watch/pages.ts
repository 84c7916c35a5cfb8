// A complete list, gathered from its pages. It is complete or it is an error: whoever replaces what is known by it must be able to rely on
// that, for a list that lacks something reads as if it had been deleted.
import type { ApiClient } from './api-client.ts';
import { ApiError } from './api-errors.ts';
import type { RawObject } from './store.ts';
import { isNamed, isRecord } from './watch-events.ts';

const PAGE_SIZE = 500;
/** Five million objects: beyond that a server does not know where its list ends. */
const PAGES_LIMIT = 10_000;

export interface CompleteList {
  items: RawObject[];
  resourceVersion: string;
}

export interface ListOptions {
  api: Pick<ApiClient, 'request'>;
  path: string;
  fieldSelector?: string | undefined;
  resourceVersion: '0' | '';
  /** Of each page. */
  timeoutMs: number;
  signal: AbortSignal;
}

interface Page {
  items: RawObject[];
  resourceVersion: string | undefined;
  next: string | undefined;
}

/** The answer is no list, whatever its status said: another server's, or a proxy's in between. */
export class NotAList extends Error {
  override name = 'NotAList';
}

export async function listAll(options: ListOptions): Promise<CompleteList> {
  const { resourceVersion, path } = options;
  const whole: RawObject[][] = [];
  let page = await getPage(options, { limit: PAGE_SIZE, resourceVersion });
  whole.push(page.items);
  for (let pages = 1; page.next !== undefined; pages += 1) {
    if (pages >= PAGES_LIMIT) throw new NotAList(`the list of ${path} has no end`);
    try {
      page = await getPage(options, { limit: PAGE_SIZE, continue: page.next });
    } catch (error) {
      if (!isExpired(error)) throw error;
      // The pages were too slow for etcd's compaction: everything in one answer instead.
      whole.length = 0;
      page = await getPage(options, { resourceVersion });
    }
    whole.push(page.items);
  }
  if (page.resourceVersion === undefined) throw new NotAList(`the list of ${path} has no resourceVersion`);
  return { items: whole.flat(), resourceVersion: page.resourceVersion };
}

/** 410, or a server whose cache is behind the version we have seen: only a list helps against either. */
export function isExpired(error: unknown): boolean {
  if (!(error instanceof ApiError)) return false;
  return error.status === 410 || error.reason === 'Expired' || error.causes.includes('ResourceVersionTooLarge');
}

async function getPage(
  { api, path, fieldSelector, timeoutMs, signal }: ListOptions,
  query: Record<string, string | number>,
): Promise<Page> {
  const answer = await api.request('GET', path, {
    query: { ...query, ...(fieldSelector ? { fieldSelector } : {}) },
    signal,
    timeoutMs,
    repeatable: false,
  });
  const notAList = (what: string) => new NotAList(`the answer to a list of ${path} ${what}`);
  if (!isRecord(answer) || !isRecord(answer['metadata'])) throw notAList('is no object of Kubernetes');
  const { kind, items, metadata } = answer;
  if (typeof kind !== 'string' || !kind.endsWith('List')) throw notAList('says that it is no list');
  // Go writes an empty list as null where nobody took care; one that is not there at all is no list.
  if (items !== null && !Array.isArray(items)) throw notAList('has no items');
  const objects: unknown[] = items ?? [];
  if (!objects.every(isNamed)) throw notAList('has an item without a name');
  const { resourceVersion, continue: next } = metadata;
  return {
    items: objects,
    resourceVersion: typeof resourceVersion === 'string' && resourceVersion !== '' ? resourceVersion : undefined,
    next: typeof next === 'string' && next !== '' ? next : undefined,
  };
}
