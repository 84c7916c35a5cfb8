// The API server as the replica that leads may use it: anybody reads, one writes.
import type { ApiClient } from '../watch/api-client.ts';
import type { Fence } from '../watch/fence.ts';

/** The same client, whose writes throw NotLeadingError where `fence` gives no right to them. */
export function fencedApi(api: ApiClient, fence: Fence): Pick<ApiClient, 'request'> {
  return {
    request: (method, path, options) => api.request(method, path, method === 'GET' ? options : { ...options, fence }),
  };
}
