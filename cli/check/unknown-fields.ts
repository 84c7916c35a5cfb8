// Fields that a schema does not know: with strict field validation, which kubectl asks for, the API server refuses them. Pure.
import type { SchemaNode } from '../../crds/structural.ts';
import { nearest } from './similar.ts';

export interface UnknownField {
  /** "spec.rules[0].retrys" */
  path: string;
  /** What was meant, as far as one can tell: the field beside it, or the place where such a field is known. */
  hint: string;
}

/** Every one of `value`, by the schema of `path`. */
export function unknownFields(value: unknown, schema: SchemaNode, path: string): UnknownField[] {
  const paths = knownPaths(schema, path);
  return walk(value, schema, path, paths);
}

function walk(
  value: unknown,
  schema: SchemaNode,
  path: string,
  paths: ReadonlyMap<string, readonly string[]>,
): UnknownField[] {
  if (Array.isArray(value)) {
    const { items } = schema;
    return items === undefined ? [] : value.flatMap((item, index) => walk(item, items, `${path}[${index}]`, paths));
  }
  if (typeof value !== 'object' || value === null) return [];
  const { properties, additionalProperties } = schema;
  return Object.entries(value).flatMap(([name, field]: [string, unknown]) => {
    const at = path === '' ? name : `${path}.${name}`;
    if (properties === undefined) {
      return typeof additionalProperties === 'object' ? walk(field, additionalProperties, at, paths) : [];
    }
    const known = Object.hasOwn(properties, name) ? properties[name] : undefined;
    if (known !== undefined) return walk(field, known, at, paths);
    return [{ path: at, hint: hintFor(name, Object.keys(properties), paths) }];
  });
}

function hintFor(name: string, siblings: readonly string[], paths: ReadonlyMap<string, readonly string[]>): string {
  const sibling = nearest(name, siblings);
  if (sibling !== undefined) return `did you mean ${sibling}?`;
  const elsewhere = paths.get(name) ?? [];
  if (elsewhere.length === 1) return `it belongs at ${elsewhere[0]}`;
  return `known here are ${siblings.join(', ')}`;
}

/** Where each name is known: "maxAttempts" → ["spec.retries.maxAttempts"]. The blocks of a rule repeat those beside it, and do not count. */
function knownPaths(schema: SchemaNode, path: string): Map<string, string[]> {
  const found = new Map<string, string[]>();
  const visit = (node: SchemaNode, at: string) => {
    for (const [name, child] of Object.entries(node.properties ?? {})) {
      const here = at === '' ? name : `${at}.${name}`;
      found.set(name, [...(found.get(name) ?? []), here]);
      visit(child, here);
    }
  };
  visit(schema, path);
  return found;
}
