// Name resolution for the sidecar's own connections, in the shape that node:net takes: by DNS queries, never through the hosts file.
import type { LookupAddress } from 'node:dns';
import type { LookupFunction } from 'node:net';
import type { DnsQuery } from './dns-query.ts';

/** What was found last for a name is good enough while DNS fails. */
export function createLookup(query: DnsQuery): LookupFunction {
  const lastFound = new Map<string, readonly string[]>();
  const find = async (name: string): Promise<readonly string[]> => {
    // RFC 6761, 6.3: no server is to be asked.
    if (/^(.+\.)?localhost\.?$/i.test(name)) return ['127.0.0.1'];
    const before = lastFound.get(name);
    const answer = await query(name, before === undefined);
    if (answer.kind === 'addresses') {
      lastFound.set(name, answer.addresses);
      return answer.addresses;
    }
    if (before !== undefined && answer.kind === 'failure') return before;
    throw Object.assign(new Error(answer.detail), { code: answer.kind === 'failure' ? 'EAI_AGAIN' : 'ENOTFOUND' });
  };
  return (name, options, callback) => {
    const answer = async () => {
      const found = await find(name).catch((error: unknown) => error as NodeJS.ErrnoException);
      if (found instanceof Error) {
        callback(found, options.all === true ? [] : '');
        return;
      }
      const all = found.map((address): LookupAddress => ({ address, family: address.includes(':') ? 6 : 4 }));
      if (options.all === true) callback(null, all);
      else callback(null, all[0]?.address ?? '', all[0]?.family);
    };
    void answer();
  };
}
