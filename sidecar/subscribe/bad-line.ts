// What can still be told of a line that is no frame we know. PURE.
import { parseBoundedJson } from '../../plan/bounded.ts';

export interface BadLine {
  /** A frame of a kind that this sidecar does not know: a newer operator's, to be passed over. */
  unknownKind: boolean;
  /** The line is JSON: it arrived whole, and is wrong in itself. */
  isJson: boolean;
  /** The version it carries, or "unknown". */
  version: string;
}

const MAX_VERSION_LENGTH = 128;

export function examineBadLine(line: string, knownKinds: readonly string[]): BadLine {
  const parsed = parseBoundedJson(line);
  if (!parsed.ok) return { unknownKind: false, isJson: false, version: versionInHead(line) };
  const { value } = parsed;
  const frame = typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {};
  const { kind, version } = frame;
  return {
    unknownKind: typeof kind === 'string' && !knownKinds.includes(kind),
    isJson: true,
    version: typeof version === 'string' && version !== '' ? version.slice(0, MAX_VERSION_LENGTH) : 'unknown',
  };
}

/** The version stands near the start of a frame, so that a cut one can still be named. */
export function versionInHead(head: string): string {
  return /"version"\s*:\s*"([^"\\]{1,128})"/.exec(head.slice(0, 512))?.[1] ?? 'unknown';
}
