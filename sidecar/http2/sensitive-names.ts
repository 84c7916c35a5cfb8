// Names of fields that a peer has marked as ones that nobody may put into a table of HPACK. Whoever sends such a field on must mark it too (RFC 7541,
// 6.2.3), and between the two it is text of HTTP/1.1, which has no such mark. So what was marked once is marked from then on, for all connections.

/** Of peers who mark more, everything is marked: it costs bytes, and nothing else. */
const MAX_NAMES = 1_024;

const names = new Set<string>();

export function markSensitive(name: string): void {
  if (names.size <= MAX_NAMES) names.add(name);
}

export function isSensitive(name: string): boolean {
  return names.size > 0 && (names.size > MAX_NAMES || names.has(name));
}
