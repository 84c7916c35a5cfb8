// One value, one text, one hash: what "equal" means for plans and endpoint sets. Two operator replicas that see the same world must name
// a plan alike, or a sidecar that moves between them would take a new version for a new plan.
import { createHash } from 'node:crypto';

/**
 * JSON with the keys of every object in code unit order and without members that are undefined. Lists keep their order: whoever builds
 * a value whose list order means nothing sorts it first. Throws TypeError on what JSON cannot say (NaN, functions, cycles overflow).
 */
export function canonicalJson(value: unknown): string {
  if (value === null || typeof value === 'boolean' || typeof value === 'string') return JSON.stringify(value);
  if (typeof value === 'number') {
    if (!Number.isFinite(value)) throw new TypeError(`a canonical value cannot hold the number ${value}`);
    return JSON.stringify(value);
  }
  if (Array.isArray(value)) return `[${value.map(canonicalJson).join(',')}]`;
  if (typeof value !== 'object') throw new TypeError(`a canonical value cannot hold a ${typeof value}`);
  const members: string[] = [];
  for (const key of Object.keys(value).sort()) {
    const member = (value as Record<string, unknown>)[key];
    if (member !== undefined) members.push(`${JSON.stringify(key)}:${canonicalJson(member)}`);
  }
  return `{${members.join(',')}}`;
}

/** SHA-256 over the canonical form, as 64 hex digits: equal values have equal versions, on every replica and after every restart. */
export function versionOf(value: unknown): string {
  return createHash('sha256').update(canonicalJson(value)).digest('hex');
}
