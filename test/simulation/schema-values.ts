// Random values of a schema of ours: every field, within its range, from the very schema that users' objects are checked with. A new block
// of ResiliencePolicy is therefore part of the simulation as soon as the schema has it; where it holds a text that is no enum, the run ends
// and asks what to write there.
import { parseDuration } from '../../crds/duration.ts';
import { DOC_RANGE, DOC_TYPE } from '../../crds/fields.ts';
import type { SchemaNode } from '../../crds/structural.ts';
import type { Dice } from './dice.ts';

/**
 * What to write into texts, and into numbers most values of which never matter here, by their path in `spec`; lists have no index:
 * "fallback.response.body".
 */
export type Vocabulary = Readonly<Record<string, readonly (string | number)[]>>;

/** So long a duration is most of the time: a run lasts seconds, and what takes minutes would never be seen in it. */
const USUAL_LIMIT_MS = 4_000;
/** Small numbers are reached in a run of seconds. */
const USUAL_LIMIT = 20;

export function randomValue(node: SchemaNode, path: string, dice: Dice, vocabulary: Vocabulary): unknown {
  if (vocabulary[path] !== undefined) return dice.pick(vocabulary[path]);
  if (node.enum !== undefined) return dice.pick(node.enum);
  if (node[DOC_TYPE] === 'duration') return randomDuration(node, path, dice);
  if (node['x-kubernetes-int-or-string'] === true) return randomValue(integerOf(node), path, dice, vocabulary);
  switch (node.type) {
    case 'object':
      return randomObject(node, path, dice, vocabulary);
    case 'array':
      return randomList(node, path, dice, vocabulary);
    case 'integer':
    case 'number':
      return randomInteger(node, dice);
    case 'boolean':
      return dice.chance(0.5);
    case undefined:
    default:
      throw new Error(`${path}: tell the simulation what to write there, in the vocabulary of policies.ts`);
  }
}

const integerOf = ({ anyOf = [] }: SchemaNode): SchemaNode => anyOf.find(({ type }) => type === 'integer') ?? {};

/** What is required, and about half of what is not: absent fields get their defaults, which are to be tried too. */
function randomObject(node: SchemaNode, path: string, dice: Dice, vocabulary: Vocabulary): Record<string, unknown> {
  const value: Record<string, unknown> = {};
  for (const [name, child] of Object.entries(node.properties ?? {})) {
    if (node.required?.includes(name) !== true && !dice.chance(0.5)) continue;
    value[name] = randomValue(child, path === '' ? name : `${path}.${name}`, dice, vocabulary);
  }
  return value;
}

function randomList(node: SchemaNode, path: string, dice: Dice, vocabulary: Vocabulary): unknown[] {
  const { items } = node;
  if (items === undefined) throw new Error(`${path}: a list without a type of its items`);
  const min = Number(node['minItems'] ?? 0);
  const max = Math.min(Number(node['maxItems'] ?? 4), Math.max(4, min));
  const values = new Map<string, unknown>();
  const wanted = dice.between(min, max);
  for (let tries = 0; values.size < wanted && tries < 20; tries += 1) {
    const value = randomValue(items, path, dice, vocabulary);
    values.set(JSON.stringify(value), value);
  }
  return [...values.values()];
}

function randomInteger(node: SchemaNode, dice: Dice): number {
  const [min, max] = [Number(node['minimum'] ?? 0), Number(node['maximum'] ?? 100)];
  return dice.skewed(min, dice.chance(0.03) ? max : Math.min(max, Math.max(min, USUAL_LIMIT)));
}

/** From the range that the reference shows: "1ms to 1h, or 0s for none". */
function randomDuration(node: SchemaNode, path: string, dice: Dice): string {
  const range = node[DOC_RANGE] ?? '';
  const [, low = '', high = '', zero] = /^(\S+) to ([^\s,]+)(, or 0s)?/.exec(range) ?? [];
  const [minMs, maxMs] = [parseDuration(low), parseDuration(high)];
  if (minMs === undefined || maxMs === undefined) throw new Error(`${path}: cannot read the range "${range}"`);
  if (zero !== undefined && dice.chance(0.08)) return '0s';
  const limitMs = dice.chance(0.03) ? maxMs : Math.min(maxMs, Math.max(minMs, USUAL_LIMIT_MS));
  return milliseconds(dice.skewed(minMs, limitMs));
}

/** At most five digits stand before a unit. */
function milliseconds(ms: number): string {
  if (ms < 100_000) return `${ms}ms`;
  return `${Math.floor(ms / 1000)}s`;
}
