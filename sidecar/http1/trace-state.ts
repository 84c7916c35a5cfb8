// Our entry in `tracestate` (W3C Trace Context): `breakwater=d:<unix milliseconds>`. An application that passes trace context on, as every
// OpenTelemetry SDK does by itself, so passes the deadline on.
//
// The entry is first, as the recommendation wants of whoever changed it, and there once. All other entries keep their place and every byte.
// Where the list would become longer than 32 entries or 512 characters, ours is left out rather than another system's.

const KEY = 'breakwater=';
const DEADLINE = 'd:';
const MAX_MEMBERS = 32;
const MAX_CHARACTERS = 512;

/** The deadline in Unix milliseconds; -1: none; NaN: there is an entry of ours that cannot be read. */
export function traceStateDeadline(list: string): number {
  const start = ownMember(list);
  if (start < 0) return -1;
  const value = list.slice(start + KEY.length, memberEnd(list, start)).trimEnd();
  const digits = value.slice(DEADLINE.length);
  return value.startsWith(DEADLINE) && /^\d{1,15}$/.test(digits) ? Number(digits) : Number.NaN;
}

/** The list with our entry in front; without it where it does not fit. `list` may have one, or be empty. */
export function withTraceStateDeadline(list: string, deadlineText: string): string {
  const others = withoutTraceStateDeadline(list);
  const member = `${KEY}${DEADLINE}${deadlineText}`;
  if (others === '') return member;
  if (member.length + 1 + others.length > MAX_CHARACTERS || members(others) >= MAX_MEMBERS) return others;
  return `${member},${others}`;
}

/** The list without our entry. */
export function withoutTraceStateDeadline(list: string): string {
  let rest = list;
  // A list that holds a key twice is invalid; ours would still not be there.
  for (let start = ownMember(rest); start >= 0; start = ownMember(rest)) {
    const end = memberEnd(rest, start);
    // With the comma behind it, or before it where it is the last.
    rest =
      end < rest.length
        ? rest.slice(0, start) + rest.slice(end + 1)
        : rest.slice(0, Math.max(0, rest.lastIndexOf(',', start)));
    rest = rest.trim();
  }
  return rest;
}

/** Where the entry with our key begins; -1: there is none. */
function ownMember(list: string): number {
  for (let at = list.indexOf(KEY); at >= 0; at = list.indexOf(KEY, at + 1)) {
    let before = at - 1;
    while (before >= 0 && (list.charCodeAt(before) === 0x20 || list.charCodeAt(before) === 0x09)) before--;
    if (before < 0 || list.charCodeAt(before) === 0x2c) return at;
  }
  return -1;
}

function memberEnd(list: string, start: number): number {
  const comma = list.indexOf(',', start);
  return comma < 0 ? list.length : comma;
}

/** Entries that are not empty. */
function members(list: string): number {
  let count = 0;
  for (const member of list.split(',')) if (member.trim() !== '') count++;
  return count;
}
