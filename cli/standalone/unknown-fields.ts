// Fields that the schema does not know: kubectl would refuse them, the operator ignores them. Pure.

/** Paths of what `raw` has and the parsed `known` has not: "spec.circuitBreakr", "spec.rules[0].retrys". */
export function unknownFields(raw: unknown, known: unknown, path: string): string[] {
  if (Array.isArray(raw) && Array.isArray(known)) {
    return raw.flatMap((item, index) => unknownFields(item, known[index], `${path}[${index}]`));
  }
  if (!isRecord(raw) || !isRecord(known)) return [];
  return Object.entries(raw).flatMap(([key, value]) => {
    const at = `${path}.${key}`;
    // The API server drops nulls, so they are no fields.
    if (value === null || value === undefined) return [];
    return key in known ? unknownFields(value, known[key], at) : [at];
  });
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
