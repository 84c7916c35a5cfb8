// The few shapes that fields of our kinds have. Each carries its description, its range and, for readers only, the default that compile
// applies after the merge: a `default:` in the schema would be written into the narrower object and override the wider one.
import { z } from 'zod';
import { DURATION_MAX_LENGTH, DURATION_PATTERN, formatDuration, type Milliseconds, parseDuration } from './duration.ts';
import { formRule, type Rule, withRules } from './rules.ts';

/** Keys of metadata that only the generators read; structural.ts turns them into text and drops them. */
export const DOC_DEFAULT = 'x-doc-default';
export const DOC_RANGE = 'x-doc-range';
export const DOC_TYPE = 'x-doc-type';

interface DurationOptions {
  description: string;
  minMs: Milliseconds;
  maxMs: Milliseconds;
  /** What "0s" stands for, where it is allowed below `minMs`. */
  zero?: string;
  default?: string;
}

/** A Gateway API duration; milliseconds in the model. */
export function duration(options: DurationOptions) {
  const { minMs, maxMs, zero } = options;
  const [min, max] = [formatDuration(minMs), formatDuration(maxMs)];
  const range = `between ${min} and ${max}${zero ? `, or 0s for ${zero}` : ''}`;
  const inRange = `duration(self) >= duration('${min}') && duration(self) <= duration('${max}')`;
  const rule: Rule<string> = {
    cel: `self.matches('${DURATION_PATTERN}') && ${zero ? `(duration(self) == duration('0s') || ${inRange})` : inRange}`,
    message: `write a duration of whole h, m, s or ms, such as 1m30s or 250ms, ${range}`,
    holds: (text) => {
      const ms = parseDuration(text);
      return ms !== undefined && ((zero !== undefined && ms === 0) || (ms >= minMs && ms <= maxMs));
    },
  };
  const text = withRules(z.string().max(DURATION_MAX_LENGTH, { abort: true }), [rule]);
  return text
    .transform((value): Milliseconds => parseDuration(value) ?? 0)
    .meta({
      ...text.meta(),
      description: options.description,
      [DOC_TYPE]: 'duration',
      [DOC_RANGE]: range.replace('between ', '').replace(' and ', ' to '),
      ...(options.default ? { [DOC_DEFAULT]: options.default } : {}),
    });
}

interface IntegerOptions {
  description: string;
  min: number;
  max: number;
  /** What the lower bound stands for, such as "off". */
  zero?: string;
  default?: string | number;
}

export function integer(options: IntegerOptions) {
  const { min, max, zero } = options;
  return z
    .int()
    .min(min)
    .max(max)
    .meta({
      description: options.description,
      [DOC_RANGE]: `${min}${zero ? ` (${zero})` : ''} ${max === Number.MAX_SAFE_INTEGER ? 'or more' : `to ${max}`}`,
      ...(options.default === undefined ? {} : { [DOC_DEFAULT]: String(options.default) }),
    });
}

const DNS_LABEL = '[a-z0-9]([-a-z0-9]*[a-z0-9])?';

interface NameOptions {
  default?: string;
  /** What to do about a name with a dot, where people write the whole DNS name. */
  dotted?: string;
}

/** DNS label (RFC 1123), the form of names of Services, namespaces and of what users name in our kinds. */
export function dnsLabel(description: string, options: NameOptions = {}) {
  const label = z
    .string()
    .max(63, { abort: true })
    .meta({
      description,
      [DOC_TYPE]: 'DNS label',
      ...(options.default === undefined ? {} : { [DOC_DEFAULT]: options.default }),
    });
  const message =
    'write a name of lower-case letters, digits and "-", with a letter or digit at both ends, such as payments';
  if (options.dotted === undefined) return withRules(label, [formRule(`^${DNS_LABEL}$`, message)]);
  return withRules(label, [formRule(`[.]|^${DNS_LABEL}$`, message), formRule('^[^.]*$', options.dotted)]);
}

/** DNS subdomain (RFC 1123), the form of names of most objects. */
export function dnsSubdomain(description: string) {
  const subdomain = z
    .string()
    .max(253, { abort: true })
    .meta({ description, [DOC_TYPE]: 'DNS name' });
  const message =
    'write a name of lower-case letters, digits, "-" and ".", with a letter or digit at both ends of each part, such as payments';
  return withRules(subdomain, [formRule(`^${DNS_LABEL}([.]${DNS_LABEL})*$`, message)]);
}

/** Text that we write ourselves, bounded. */
export function text(description: string, max: number) {
  return z.string().max(max).meta({ description });
}

type ListKind = { type: 'set' | 'atomic' } | { type: 'map'; keys: readonly [string, ...string[]] };

/** Metadata of a list: how server-side apply merges it, and its description. */
export function listMeta(description: string, kind: ListKind): Record<string, unknown> {
  return {
    description,
    'x-kubernetes-list-type': kind.type,
    ...(kind.type === 'map' ? { 'x-kubernetes-list-map-keys': [...kind.keys] } : {}),
  };
}

/** A list whose items are unique by their keys: the API server checks that from the list type, this checks it for our parser. */
export function mapList<S extends z.ZodObject>(
  item: S,
  options: { description: string; keys: readonly [string, ...string[]]; min?: number; max: number },
) {
  const { keys } = options;
  return z
    .array(item)
    .min(options.min ?? 0)
    .max(options.max)
    .superRefine((items, context) => {
      const seen = new Set<string>();
      items.forEach((entry, index) => {
        const key = JSON.stringify(keys.map((name) => (entry as Record<string, unknown>)[name]));
        if (seen.has(key)) {
          const shown = Object.fromEntries(keys.map((name) => [name, (entry as Record<string, unknown>)[name]]));
          context.addIssue({
            code: 'custom',
            message: `Duplicate value: ${JSON.stringify(shown)}; rename one of them`,
            path: [index],
          });
        }
        seen.add(key);
      });
    })
    .meta(listMeta(options.description, { type: 'map', keys }));
}

/** A list of different values, in any order. */
export function setList<S extends z.ZodType<string | number>>(
  item: S,
  options: { description: string; min?: number; max: number; default?: string },
) {
  return z
    .array(item)
    .min(options.min ?? 0)
    .max(options.max)
    .superRefine((items, context) => {
      items.forEach((value, index) => {
        if (items.indexOf(value) !== index) {
          context.addIssue({
            code: 'custom',
            message: `Duplicate value: ${JSON.stringify(value)}; remove one of them`,
            path: [index],
          });
        }
      });
    })
    .meta({
      ...listMeta(options.description, { type: 'set' }),
      ...(options.default === undefined ? {} : { [DOC_DEFAULT]: options.default }),
    });
}

/**
 * A list of different objects, each of which is one value. The list is changed whole: a `set` of objects is accepted in a definition, but
 * no server-side apply of such an object, its status included, would succeed.
 */
export function objectSet<S extends z.ZodType>(item: S, options: { description: string; min: number; max: number }) {
  const list = z
    .array(item)
    .min(options.min)
    .max(options.max)
    .meta(listMeta(options.description, { type: 'atomic' }));
  return withRules(list, [
    {
      cel: 'self.all(one, self.exists_one(other, other == one))',
      message: 'Duplicate value: an entry is listed twice; remove one',
      holds: (items) => new Set(items.map((entry) => JSON.stringify(entry))).size === items.length,
    },
  ]);
}
