// The value of one field among field lines that were validated before.
import { equalsIgnoringCase } from './characters.ts';
import { FieldCursor } from './fields.ts';

// Reading is synchronous and never re-entered, so one cursor serves all.
const cursor = new FieldCursor();

/**
 * The values of the field `name` (lower case) in `fields`, whose lines have CR LF before them; several joined by ", " in their order
 * (RFC 9110, 5.3). Null: there is no such field, which is not the same as an empty one.
 */
export function fieldValue(fields: string, name: string): string | null {
  let value: string | null = null;
  cursor.open(fields, 0);
  while (cursor.next()) {
    if (cursor.nameEnd - cursor.nameStart !== name.length) continue;
    if (!equalsIgnoringCase(fields, cursor.nameStart, cursor.nameEnd, name)) continue;
    const part = fields.slice(cursor.valueStart, cursor.valueEnd);
    value = value === null ? part : `${value}, ${part}`;
  }
  cursor.close();
  return value;
}

/** `fields` without the lines whose name, in lower case, `drops` says true of. */
export function withoutFields(fields: string, drops: (name: string) => boolean): string {
  let kept = '';
  cursor.open(fields, 0);
  while (cursor.next()) {
    const name = fields.slice(cursor.nameStart, cursor.nameEnd).toLowerCase();
    if (!drops(name)) kept += fields.slice(cursor.lineStart, cursor.lineEnd);
  }
  cursor.close();
  return kept;
}
