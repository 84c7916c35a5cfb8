// Character classes of RFC 9110 and RFC 9112, as tables by character code. Codes outside 0–255 are in no class.

const TOKEN = 1;
const VALUE = 2;
const TARGET = 4;
const HOST = 8;

const CLASSES = new Uint8Array(256);
for (let code = 0; code < 256; code += 1) {
  const digit = code >= 0x30 && code <= 0x39;
  const letter = (code >= 0x41 && code <= 0x5a) || (code >= 0x61 && code <= 0x7a);
  let classes = 0;
  if (digit || letter || "!#$%&'*+-.^_`|~".includes(String.fromCharCode(code))) classes |= TOKEN;
  if (code === 0x09 || (code >= 0x20 && code !== 0x7f)) classes |= VALUE;
  if (code > 0x20 && code < 0x7f) classes |= TARGET;
  if (digit || letter || '-._~'.includes(String.fromCharCode(code))) classes |= HOST;
  CLASSES[code] = classes;
}

/** A character of a method, field name or coding name. */
export function isTokenCharacter(code: number): boolean {
  return ((CLASSES[code] ?? 0) & TOKEN) !== 0;
}

/** A character of a field value or reason phrase: HTAB, SP, VCHAR, obs-text. */
export function isValueCharacter(code: number): boolean {
  return ((CLASSES[code] ?? 0) & VALUE) !== 0;
}

/** Printable ASCII but space: what a request target may hold on the wire. */
export function isTargetCharacter(code: number): boolean {
  return ((CLASSES[code] ?? 0) & TARGET) !== 0;
}

/** A character of a host name or IPv4 address. */
export function isHostCharacter(code: number): boolean {
  return ((CLASSES[code] ?? 0) & HOST) !== 0;
}

export function isDigit(code: number): boolean {
  return code >= 0x30 && code <= 0x39;
}

/** Value of a hexadecimal digit, or -1. */
export function hexValue(code: number): number {
  if (code >= 0x30 && code <= 0x39) return code - 0x30;
  const lower = code | 0x20;
  return lower >= 0x61 && lower <= 0x66 ? lower - 0x57 : -1;
}

/** Whether [start, end) of `text` is the lower-case ASCII `expected`, in any case. */
export function equalsIgnoringCase(text: string, start: number, end: number, expected: string): boolean {
  if (end - start !== expected.length) return false;
  for (let index = 0; index < expected.length; index += 1) {
    const code = text.charCodeAt(start + index);
    const folded = code >= 0x41 && code <= 0x5a ? code | 0x20 : code;
    if (folded !== expected.charCodeAt(index)) return false;
  }
  return true;
}

/** As `equalsIgnoringCase`, where "_" is as good as "-": so names become those of variables (CGI, WSGI and their like). */
export function equalsAsVariable(text: string, start: number, end: number, expected: string): boolean {
  if (end - start !== expected.length) return false;
  for (let index = 0; index < expected.length; index += 1) {
    const code = text.charCodeAt(start + index);
    const folded = code >= 0x41 && code <= 0x5a ? code | 0x20 : code === 0x5f ? 0x2d : code;
    if (folded !== expected.charCodeAt(index)) return false;
  }
  return true;
}
