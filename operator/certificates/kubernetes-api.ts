// The little that this operator's writers need of the API server's client, so that they can be tested without the whole of it.

export type Method = 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';

export interface KubernetesApi {
  /** One call; rejects with an error that carries the HTTP status as `statusCode`, `status` or `code` where there was an answer. */
  request<T>(
    method: Method,
    path: string,
    options?: {
      query?: Record<string, string>;
      body?: unknown;
      contentType?: string;
      /** The call changes nothing, or nothing more when it runs twice. */
      repeatable?: boolean;
    },
  ): Promise<T>;
}

/** HTTP status of a failed call; undefined where no answer came. */
export function statusOf(error: unknown): number | undefined {
  if (typeof error !== 'object' || error === null) return undefined;
  for (const key of ['statusCode', 'status', 'code'] as const) {
    const value: unknown = Reflect.get(error, key);
    if (typeof value === 'number') return value;
  }
  return undefined;
}

export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
