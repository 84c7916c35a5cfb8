// Bounds on what a peer may make us do with a few megabytes: JSON that is nothing but brackets becomes objects of fifty times its size, and
// a schema that tells every wrong item of a list tells millions. Both are refused at the first thing that shows it.
import * as z from 'zod';

/** The deepest frame has 12 levels. */
const MAX_DEPTH = 64;
/** Of objects and lists in one text; the largest frame, of nothing but endpoints, has fewer. */
const MAX_CONTAINERS = 500_000;
/** Below this size no text can hold enough to hurt. */
const HARMLESS_LENGTH = 16_384;

const [QUOTE, BACKSLASH, OPEN_LIST, CLOSE_LIST, OPEN_OBJECT, CLOSE_OBJECT] = [0x22, 0x5c, 0x5b, 0x5d, 0x7b, 0x7d];

export type ParsedJson = { ok: true; value: unknown } | { ok: false; message: string };

/** JSON.parse that neither throws nor makes more objects and lists than `maxContainers`, by default more than any of our messages has. */
export function parseBoundedJson(text: string, maxContainers = MAX_CONTAINERS): ParsedJson {
  const excess = text.length > HARMLESS_LENGTH ? excessOf(text, maxContainers) : undefined;
  if (excess !== undefined) return { ok: false, message: excess };
  try {
    return { ok: true, value: JSON.parse(text) };
  } catch {
    return { ok: false, message: `it is not JSON (${text.length} characters): it was cut or damaged on the way` };
  }
}

function excessOf(text: string, maxContainers: number): string | undefined {
  let depth = 0;
  let containers = 0;
  for (let index = 0; index < text.length; index++) {
    const code = text.charCodeAt(index);
    if (code === QUOTE) index = endOfString(text, index);
    else if (code === OPEN_LIST || code === OPEN_OBJECT) {
      if (++depth > MAX_DEPTH) return `it is nested more than ${MAX_DEPTH} levels deep`;
      if (++containers > maxContainers) return `it holds more than ${maxContainers} objects and lists`;
    } else if (code === CLOSE_LIST || code === CLOSE_OBJECT) depth--;
  }
  return undefined;
}

/** Where the string that begins here ends, or the text. */
function endOfString(text: string, start: number): number {
  for (let end = text.indexOf('"', start + 1); end >= 0; end = text.indexOf('"', end + 1)) {
    let escapes = 0;
    while (text.charCodeAt(end - 1 - escapes) === BACKSLASH) escapes++;
    if (escapes % 2 === 0) return end;
  }
  return text.length;
}

/** A list that is looked at up to its first wrong item. */
export function boundedList<T>(item: z.ZodType<T>, bounds: { min?: number; max: number }) {
  return z
    .array(z.unknown())
    .min(bounds.min ?? 0)
    .max(bounds.max)
    .transform((items, context): T[] => {
      const read: T[] = [];
      for (const [index, value] of items.entries()) {
        const result = item.safeParse(value);
        if (!result.success) {
          const [issue] = result.error.issues;
          context.addIssue({
            code: 'custom',
            message: issue?.message ?? 'does not fit',
            path: [index, ...(issue?.path ?? [])],
          });
          return z.NEVER;
        }
        read.push(result.data);
      }
      return read;
    });
}

/** A list of indices into another, by the same principle and without a parse for each. */
export function indexList(bounds: { min: number; max: number }) {
  const isIndex = (value: unknown) => typeof value === 'number' && Number.isInteger(value) && value >= 0;
  return z
    .array(z.unknown())
    .min(bounds.min)
    .max(bounds.max)
    .transform((items, context): number[] => {
      const wrong = items.findIndex((value) => !isIndex(value));
      if (wrong < 0) return items as number[];
      context.addIssue({ code: 'custom', message: 'is no index', path: [wrong] });
      return z.NEVER;
    });
}
