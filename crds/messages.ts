// What our own parser says where a value does not fit the schema, in the words of the API server: a user of standalone mode, a reader of a
// status and a user of kubectl find the same sentence. Relations have messages of their own, beside their rules.
import type { z } from 'zod';

type Issue = Parameters<z.core.$ZodErrorMap>[0];

/** An error map for zod; leaves the wording to the schema where it knows none. */
export function apiServerMessage(issue: Issue): string | undefined {
  if (issue.code !== 'custom' && issue.input === undefined) return 'Required value';
  switch (issue.code) {
    case 'invalid_type':
      return `must be of type ${typeNames[issue.expected] ?? issue.expected}: "${typeOf(issue.input)}"`;
    case 'invalid_union':
      return `must be of type integer or string: "${typeOf(issue.input)}"`;
    case 'invalid_value':
      return `Unsupported value: ${JSON.stringify(issue.input)}: supported values: ${issue.values.map((value) => `"${String(value)}"`).join(', ')}`;
    case 'invalid_format':
      return issue.pattern === undefined ? undefined : `should match '${issue.pattern.replace(/^\/|\/$/g, '')}'`;
    case 'too_small':
      return tooSmall(issue.origin, Number(issue.minimum));
    case 'too_big':
      return tooBig(issue.origin, Number(issue.maximum), issue.input);
    case 'custom':
    case 'invalid_element':
    case 'invalid_key':
    case 'not_multiple_of':
    case 'unrecognized_keys':
    default:
      return undefined;
  }
}

const typeNames: Record<string, string> = { number: 'integer', int: 'integer', record: 'object' };

function typeOf(value: unknown): string {
  if (value === null) return 'null';
  if (Array.isArray(value)) return 'array';
  if (typeof value === 'number') return Number.isInteger(value) ? 'integer' : 'number';
  return typeof value;
}

function tooSmall(origin: string, minimum: number): string {
  if (origin === 'string') return `should be at least ${minimum} chars long`;
  if (origin === 'array') return `should have at least ${minimum} items`;
  return `should be greater than or equal to ${minimum}`;
}

function tooBig(origin: string, maximum: number, input: unknown): string {
  if (origin === 'string') return `Too long: may not be more than ${maximum} bytes`;
  if (origin === 'array') return tooMany((input as readonly unknown[]).length, maximum);
  return `should be less than or equal to ${maximum}`;
}

export function tooMany(count: number, maximum: number): string {
  return `Too many: ${count}: must have at most ${maximum} items`;
}
