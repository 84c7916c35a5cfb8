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

/** As mergePatch, of a block: an alternative that `narrow` names takes the place of others. */
export function mergeBlock(block: BlockName, wide: unknown, narrow: object): unknown {
  return mergePatch(withoutReplaced(wide, narrow, ALTERNATIVES[block] ?? []), narrow);
}

/** `wide` without the alternatives to one that `narrow` names. */
function withoutReplaced(wide: unknown, narrow: object, alternatives: readonly string[]): unknown {
  const named = alternatives.filter((name) => (narrow as Record<string, unknown>)[name] !== undefined);
  if (named.length === 0 || !isObject(wide)) return wide;
  return Object.fromEntries(
    Object.entries(wide).filter(([name]) => !alternatives.includes(name) || named.includes(name)),
  );
}
