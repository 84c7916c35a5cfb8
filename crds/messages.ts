// What our own parser says where a value does not fit the schema, in the words of the API server: a user of standalone mode, a reader of a
// status and a user of kubectl find the same sentence. Where the API server does not say what to write instead, we add it. Relations and
// forms have messages of their own, beside their rules.
import { z } from 'zod';
import { VALIDATIONS, type ValidationRule } from './rules.ts';

type Issue = Parameters<z.core.$ZodErrorMap>[0];

/** An error map for zod; leaves the wording to the schema where it knows none. */
export function apiServerMessage(issue: Issue): string | undefined {
  if (issue.code !== 'custom' && issue.input === undefined) return `Required value; ${whatToWrite(issue)}`;
  switch (issue.code) {
    case 'invalid_type':
      return `must be of type ${typeNames[issue.expected] ?? issue.expected}: "${typeOf(issue.input)}"; ${whatToWrite(issue)}`;
    case 'invalid_union':
      return `must be of type integer or string: "${typeOf(issue.input)}"; ${whatToWrite(issue)}`;
    case 'invalid_value':
      return `Unsupported value: ${JSON.stringify(issue.input)}: supported values: ${issue.values.map((value) => `"${String(value)}"`).join(', ')}`;
    case 'invalid_format':
      return issue.pattern === undefined ? undefined : `should match '${issue.pattern.replace(/^\/|\/$/g, '')}'`;
    case 'too_small':
      return `${tooSmall(issue.origin, Number(issue.minimum))}; ${whatToWrite(issue)}`;
    case 'too_big':
      return tooBig(issue, Number(issue.maximum));
    case 'custom':
    case 'invalid_element':
    case 'invalid_key':
    case 'not_multiple_of':
    case 'unrecognized_keys':
    default:
      return undefined;
  }
}

/** From the schema of the field: the message of its form, else what it is made of. */
function whatToWrite({ schema, code }: Issue): string {
  const rules = (schema instanceof z.ZodType ? (schema.meta()?.[VALIDATIONS] ?? []) : []) as readonly ValidationRule[];
  // The rules of an object are relations between its fields, which say nothing to who wrote no object.
  const form = schema instanceof z.ZodObject ? undefined : rules.find(({ message }) => message.startsWith('write '));
  if (form !== undefined) return form.message;
  if (schema instanceof z.ZodEnum) return `write one of ${quoted(schema)}`;
  if (schema instanceof z.ZodNumber) return `write a whole number from ${schema.minValue} to ${schema.maxValue}`;
  if (schema instanceof z.ZodRecord) return 'write names and values, such as {app: checkout}';
  if (schema instanceof z.ZodObject) return `write an object of the fields ${Object.keys(schema.shape).join(', ')}`;
  if (!(schema instanceof z.ZodArray)) return 'write text';
  if (code === 'too_small') return 'write at least one';
  const { element } = schema;
  return `write a list, in [ ] or with "-" before each entry${element instanceof z.ZodEnum ? `, of ${quoted(element)}` : ''}`;
}

function quoted({ options }: z.ZodEnum): string {
  return options.map((value) => `"${value}"`).join(', ');
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

function tooBig(issue: Issue, maximum: number): string {
  if (typeof issue.input === 'string') return `Too long: may not be more than ${maximum} bytes; shorten it`;
  if (Array.isArray(issue.input)) return tooMany(issue.input.length, maximum);
  return `should be less than or equal to ${maximum}; ${whatToWrite(issue)}`;
}

export function tooMany(count: number, maximum: number): string {
  return `Too many: ${count}: must have at most ${maximum} items; remove ${count - maximum}`;
}
