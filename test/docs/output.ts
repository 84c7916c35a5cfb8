// What a page shows of a command's output, compared with what the command printed. Pages show real output; what differs from run to run is
// recognised by its form, in the page, and matches anything of that form:
//
//   times (RFC 3339), ages and other durations after two spaces, "12 s", "12 ms", addresses, ports of 127.0.0.1, the random ends of pod
//   names, hashes and versions, correlation ids, and how soon to come back
//
// A line "..." stands for any lines, "…" for any text within a line. Columns may be of any width. Ports and names that differ are learnt, so that commands further down the
// page, which the reader would change likewise, name the real ones.

interface Variable {
  /** In the page. */
  shown: RegExp;
  /** In what was printed; with a group where the value is learnt. */
  printed: string;
}

const VARIABLES: readonly Variable[] = [
  {
    shown: /\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z/,
    printed: '\\d{4}-\\d\\d-\\d\\dT\\d\\d:\\d\\d:\\d\\d(?:\\.\\d+)?Z',
  },
  {
    shown: /[\da-f]{8}-[\da-f]{4}-[\da-f]{4}-[\da-f]{4}-[\da-f]{12}/,
    printed: '[\\da-f]{8}(?:-[\\da-f]{4}){3}-[\\da-f]{12}',
  },
  { shown: /(?<=[a-z]-)[\da-f]{8,10}-[a-z\d]{5}(?![\w-])/, printed: '([\\da-f]{8,10}-[a-z\\d]{5})' },
  { shown: /(?<=[a-z]-)[\da-f]{8,10}(?![\w-])/, printed: '([\\da-f]{8,10})' },
  { shown: /\b[\da-f]{16,64}\b/, printed: '[\\da-f]{16,64}' },
  { shown: /(?<=\bversion )[\w-]{16,}/, printed: '[\\w-]{16,}' },
  { shown: /…/, printed: '.*' },
  { shown: /(?<=127\.0\.0\.1:)\d{2,5}/, printed: '(\\d{2,5})' },
  { shown: /\b(?!127\.)\d{1,3}(?:\.\d{1,3}){3}\b/, printed: '\\d{1,3}(?:\\.\\d{1,3}){3}' },
  { shown: /(?<=^retry-after: |"retryAfterSeconds":)\d+/i, printed: '\\d+' },
  { shown: /\b\d+(?:\.\d+)? m?s\b/, printed: '\\d+(?:\\.\\d+)? m?s' },
  { shown: /(?<=\s\s)(?:\d+[dhms]){1,2}(?=\s|$)/, printed: '(?:\\d+[dhms]){1,2}' },
];

export interface Matched {
  /** What the page shows and what it was this time, where a later command may name it. */
  learnt: ReadonlyMap<string, string>;
}

interface LinePattern {
  expression: RegExp;
  /** What the page shows at each group. */
  values: readonly string[];
}

function patternOf(shown: string): LinePattern {
  let source = '';
  const values: string[] = [];
  let rest = 0;
  const literal = (text: string) => text.replaceAll(/[.*+?^${}()|[\]\\]/g, '\\$&').replaceAll(/\s+/g, '\\s+');
  while (rest < shown.length) {
    const next = nearest(shown, rest);
    if (!next) break;
    source += literal(shown.slice(rest, next.from)) + next.printed;
    if (next.printed.startsWith('(') && !next.printed.startsWith('(?')) values.push(next.text);
    rest = next.from + next.text.length;
  }
  return { expression: new RegExp(`^${source}${literal(shown.slice(rest).trimEnd())}\\s*$`), values };
}

function nearest(shown: string, rest: number): { from: number; text: string; printed: string } | undefined {
  let best: { from: number; text: string; printed: string } | undefined;
  for (const { shown: form, printed } of VARIABLES) {
    const anywhere = new RegExp(form.source, `${form.flags}g`);
    anywhere.lastIndex = rest;
    const found = anywhere.exec(shown);
    if (found && (best === undefined || found.index < best.from)) best = { from: found.index, text: found[0], printed };
  }
  return best;
}

const linesOf = (text: string): string[] => text.replace(/\s+$/, '').split('\n');

/** Undefined where the page does not show what was printed. `anywhere`: other lines may stand before and behind. */
export function matchOutput(shown: string, printed: string, anywhere = false): Matched | undefined {
  const wanted = linesOf(shown);
  const steps = anywhere ? ['...', ...wanted, '...'] : wanted;
  const patterns = steps.map((line) => (line.trim() === '...' ? undefined : patternOf(line)));
  const learnt = new Map<string, string>();
  return matchFrom(patterns, linesOf(printed), 0, 0, learnt) ? { learnt } : undefined;
}

function matchFrom(
  patterns: readonly (LinePattern | undefined)[],
  lines: readonly string[],
  pattern: number,
  line: number,
  learnt: Map<string, string>,
): boolean {
  if (pattern === patterns.length) return line >= lines.length;
  const one = patterns[pattern];
  if (one === undefined) {
    for (let skipped = line; skipped <= lines.length; skipped++) {
      if (matchFrom(patterns, lines, pattern + 1, skipped, learnt)) return true;
    }
    return false;
  }
  const found = one.expression.exec(lines[line] ?? '\u0000');
  if (!found || !matchFrom(patterns, lines, pattern + 1, line + 1, learnt)) return false;
  for (const [index, value] of one.values.entries()) learnt.set(value, found[index + 1] ?? value);
  return true;
}

/** The head of an HTTP answer as a page shows it: its first line, and those fields that matter, in any order. */
export function matchHttp(shown: string, printed: string): Matched | undefined {
  const [status = '', ...fields] = linesOf(shown);
  const lines = printed.split(/\r?\n/);
  const sameField = (field: string) => {
    const { expression } = patternOf(field);
    return lines.some((line) => new RegExp(expression.source, 'i').test(line));
  };
  return lines.some((line) => line.startsWith(status)) && fields.every(sameField) ? { learnt: new Map() } : undefined;
}

/** The text with what was learnt in the place of what the page shows. */
export function withLearnt(text: string, learnt: ReadonlyMap<string, string>): string {
  if (learnt.size === 0) return text;
  const names = [...learnt.keys()].map((name) => name.replaceAll(/[.*+?^${}()|[\]\\]/g, '\\$&'));
  const whole = new RegExp(`(?<![\\da-zA-Z])(?:${names.join('|')})(?![\\da-zA-Z])`, 'g');
  return text.replaceAll(whole, (name) => learnt.get(name) ?? name);
}
