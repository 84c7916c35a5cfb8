// Which row of policies holds for a request. Compiled when a plan arrives, so that a request costs one pass over the rules of each level.
//
// Semantics: of Gateway API's HTTPRouteMatch. Method and path are case-sensitive; a PathPrefix matches by whole segments and its trailing
// slash says nothing ("/charges" and "/charges/" match /charges, /charges/, /charges/7, not /chargesheet); Exact is exact. The path is the raw
// one, without query. Names of headers have no case, their values have; a header that comes several times has its values joined by ", "
// (RFC 9110, 5.3). Of each level's rules the first one counts.
import type { DependencyPlan, RulePlan } from '../../plan/plan.ts';
import { fieldValue } from '../http1/field-value.ts';

const SLASH = 0x2f;

const PathKind = { Any: 0, Exact: 1, Prefix: 2 } as const;

interface CompiledMatch {
  /** 1 + index of the rule on its level. */
  readonly ruleNumber: number;
  /** Empty: any. */
  readonly method: string;
  readonly pathKind: number;
  /** A prefix is kept without its trailing slash. */
  readonly path: string;
  /** Null: none is asked for, and nobody looks at the fields. */
  readonly headers: readonly HeaderMatch[] | null;
}

type HeaderMatch = NonNullable<RulePlan['matches'][number]['headers']>[number];

export class RouteTable {
  readonly #levels: readonly (readonly CompiledMatch[])[];
  /** Rules of each level, and one for "none". */
  readonly #sizes: readonly number[];
  readonly #combinations: readonly number[];

  /** Throws a RangeError where the plan's table of combinations does not fit its rules. */
  constructor(dependency: Pick<DependencyPlan, 'id' | 'levels' | 'combinations' | 'policies'>) {
    this.#levels = dependency.levels.map(compileLevel);
    this.#sizes = dependency.levels.map((rules) => rules.length + 1);
    this.#combinations = dependency.combinations;
    const expected = this.#sizes.reduce((product, size) => product * size, 1);
    if (dependency.combinations.length !== expected) {
      throw new RangeError(
        `${dependency.id}: ${dependency.combinations.length} combinations for rules that make ${expected}`,
      );
    }
    for (const row of dependency.combinations) {
      if (row >= dependency.policies.length)
        throw new RangeError(`${dependency.id}: combination points at policy ${row} of ${dependency.policies.length}`);
    }
  }

  /** The row of `policies` for a request; `path` is without query, `fields` has CR LF before each line. */
  match(method: string, path: string, fields: string): number {
    let index = 0;
    for (let level = 0; level < this.#levels.length; level += 1) {
      index = index * (this.#sizes[level] ?? 1) + firstMatch(this.#levels[level] ?? [], method, path, fields);
    }
    return this.#combinations[index] ?? 0;
  }
}

function compileLevel(rules: readonly RulePlan[]): CompiledMatch[] {
  const compiled: CompiledMatch[] = [];
  for (const [index, rule] of rules.entries()) {
    const ruleNumber = index + 1;
    if (rule.matches.length === 0)
      compiled.push({ ruleNumber, method: '', pathKind: PathKind.Any, path: '', headers: null });
    for (const { method, path, headers } of rule.matches) {
      compiled.push({ ruleNumber, method: method ?? '', ...compilePath(path), headers: headers ?? null });
    }
  }
  return compiled;
}

function compilePath(path: RulePlan['matches'][number]['path']): Pick<CompiledMatch, 'pathKind' | 'path'> {
  if (path === null) return { pathKind: PathKind.Any, path: '' };
  if (path.type === 'Exact') return { pathKind: PathKind.Exact, path: path.value };
  return { pathKind: PathKind.Prefix, path: withoutTrailingSlash(path.value) };
}

function withoutTrailingSlash(path: string): string {
  return path.endsWith('/') ? path.slice(0, -1) : path;
}

/** 1 + index of the first rule that matches; 0: none does. */
function firstMatch(matches: readonly CompiledMatch[], method: string, path: string, fields: string): number {
  for (const match of matches) {
    if (match.method !== '' && match.method !== method) continue;
    if (!pathMatches(match, path)) continue;
    if (match.headers === null || headersMatch(match.headers, fields)) return match.ruleNumber;
  }
  return 0;
}

function headersMatch(headers: readonly HeaderMatch[], fields: string): boolean {
  for (const { name, type, value } of headers) {
    const present = fieldValue(fields, name);
    if (present === null) return false;
    if (type === 'Exact' && present !== value) return false;
    if (type === 'Prefix' && !present.startsWith(value)) return false;
  }
  return true;
}

function pathMatches(match: CompiledMatch, path: string): boolean {
  if (match.pathKind === PathKind.Any) return true;
  if (match.pathKind === PathKind.Exact) return match.path === path;
  const end = match.path.length;
  // The cheap half first: most prefixes do not end where a segment of this path does.
  if (path.length !== end && path.charCodeAt(end) !== SLASH) return false;
  return path.startsWith(match.path);
}
