// Policies merge as RFC 7386 merges: objects deep, everything else (lists too) whole, the narrower one wins. `mode` is a field like any
// other: a block stays Disabled until a narrower one says Enforce. Of fields that are alternatives the narrower one takes the place of the
// wider one.
import { ALTERNATIVES, type BlockName } from '../../crds/policies/blocks.ts';

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** `narrow` over `wide`; neither is changed. A member that is undefined is absent. */
export function mergePatch(wide: unknown, narrow: unknown): unknown {
  if (narrow === undefined) return wide;
  if (!isObject(wide) || !isObject(narrow)) return narrow;
  const merged: Record<string, unknown> = { ...wide };
  for (const [name, value] of Object.entries(narrow)) merged[name] = mergePatch(wide[name], value);
  return merged;
}

/** As mergePatch, of a block: alternatives that `narrow` names take the place of others. */
export function mergeBlock(block: BlockName, wide: unknown, narrow: object): unknown {
  return mergePatch(withoutReplaced(wide, narrow, ALTERNATIVES[block] ?? []), narrow);
}

/** `wide` without the alternatives to those that `narrow` names. */
function withoutReplaced(wide: unknown, narrow: object, groups: readonly (readonly string[])[]): unknown {
  const isNamed = (group: readonly string[]) =>
    group.some((name) => (narrow as Record<string, unknown>)[name] !== undefined);
  if (!groups.some(isNamed) || !isObject(wide)) return wide;
  const replaced = new Set(groups.filter((group) => !isNamed(group)).flat());
  return Object.fromEntries(Object.entries(wide).filter(([name]) => !replaced.has(name)));
}
