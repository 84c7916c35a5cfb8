// What may stand where. Each rule says what it forbids and why, and finds its violations; the lists are the whole of it.
import type { SourceFile } from './source.ts';

export interface Violation {
  path: string;
  line: number;
  message: string;
}

/** Decisions: time, chance and the world come in as arguments, so that a test or a simulation can be the world. */
export const PURE = [
  /^crds\/(?!generate\.ts$)/,
  /^plan\//,
  /^operator\/compile\//,
  /^operator\/status\/(conditions|scope|summary|texts)\.ts$/,
  /^operator\/inject\/patch\.ts$/,
  /^operator\/elect\/election\.ts$/,
  /^cli\/(check|completion|explain|inject|manifests|output)\/(?!command\.ts$|files\.ts$|from-cluster\.ts$|streams\.ts$)/,
  /^sidecar\/(http1|policies|route|balance)\//,
  /^sidecar\/resolve\/(combine|name-state|resolv-conf)\.ts$/,
  /^sidecar\/subscribe\/(backoff|bad-line|report-queue|stream-machine)\.ts$/,
  /^sidecar\/proxy\/dependency\/labels\.ts$/,
  /^sidecar\/proxy\/intake\/(client-hello|first-bytes|host-index|own-addresses)\.ts$/,
];
const IMPURE_NAMES = new Set([
  'setTimeout',
  'setInterval',
  'setImmediate',
  'queueMicrotask',
  'clearTimeout',
  'clearInterval',
  'Date',
  'Math.random',
  'performance',
  'process',
  'fetch',
  'console',
  'crypto',
]);
const IMPURE_IMPORTS =
  /^(node:(fs|net|http|https|http2|tls|dns|os|child_process|timers|process|worker_threads|perf_hooks|dgram|readline|async_hooks)(\/.*)?|fastify|pino|undici|koffi|cockatiel|prom-client|@kubernetes\/client-node)$/;

/** Outside of pure folders: only these files read the time, start timers, take chances or read the environment. */
const TIME_AND_CHANCE = new Set([
  'setTimeout',
  'setInterval',
  'Date.now',
  'new Date()',
  'performance.now',
  'Math.random',
  'process.env',
]);
const EDGES: Readonly<Record<string, readonly string[]>> = {
  'runtime/clock.ts': ['setTimeout', 'Date.now', 'performance.now'],
  'runtime/random.ts': ['Math.random'],
  'runtime/environment.ts': ['process.env'],
  // Hands the environment on to a child as it is, and reads none of it.
  'cli/following-child.ts': ['process.env'],
};
const TIMER_IMPORTS = /^node:timers/;

/** Who may import whom, between the parts. */
const MAY_IMPORT: Readonly<Record<string, readonly string[]>> = {
  crds: [],
  plan: [],
  runtime: [],
  operator: ['crds', 'plan', 'runtime'],
  sidecar: ['plan', 'runtime'],
  cli: ['crds', 'plan', 'runtime', 'operator', 'sidecar'],
};
export const PARTS = Object.keys(MAY_IMPORT);

const partOf = (path: string): string => path.split('/')[0] ?? '';
const isTest = (path: string): boolean => path.endsWith('.test.ts') || /\/(testdata|testing)\//.test(path);
const isOurs = (path: string): boolean => PARTS.includes(partOf(path)) || ['test', 'bench'].includes(partOf(path));

export function violations(file: SourceFile): Violation[] {
  const found: Violation[] = [];
  const add = (line: number, message: string) => found.push({ path: file.path, line, message });
  for (const { what, line } of file.names) {
    if (what === 'export default' && !file.path.endsWith('vitest.config.ts'))
      add(line, 'no default exports: a thing has one name everywhere');
    if (what === 'any') add(line, 'no any: unknown, and a check');
    if (what === '!') add(line, 'no "!": handle what may be absent');
    if (what === 'maxLength alone' && file.imports.some(({ what: module }) => module === 'fast-check'))
      add(line, 'a length beyond ten without size: fast-check stops at ten elements; say size: "max"');
  }
  if (!PARTS.includes(partOf(file.path)) || isTest(file.path)) return found;
  checkImports(file, add);
  if (PURE.some((pattern) => pattern.test(file.path))) checkPurity(file, add);
  else checkEdges(file, add);
  return found;
}

type Add = (line: number, message: string) => void;

function checkImports(file: SourceFile, add: Add): void {
  const part = partOf(file.path);
  for (const { what, line } of file.imports) {
    if (isOurs(what) && partOf(what) !== part && !MAY_IMPORT[part]?.includes(partOf(what))) {
      add(line, `${part} must not import ${what}: see the walls in CONTRIBUTING.md`);
    }
    if (/^(operator|sidecar|cli)\/main\.ts$/.test(what) && part !== 'cli')
      add(line, `nobody imports ${what}: it composes, the others are composed`);
    if (isTest(what)) add(line, `${what} is test code`);
  }
}

function checkPurity(file: SourceFile, add: Add): void {
  for (const { what, line } of file.names)
    if (IMPURE_NAMES.has(what)) add(line, `${what} in a pure folder: take it as an argument`);
  for (const { what, line } of file.imports)
    if (IMPURE_IMPORTS.test(what)) add(line, `import of ${what} in a pure folder`);
}

function checkEdges(file: SourceFile, add: Add): void {
  const allowed = EDGES[file.path] ?? [];
  for (const { what, line } of file.names) {
    if (TIME_AND_CHANCE.has(what) && !allowed.includes(what))
      add(line, `${what} belongs into runtime/clock.ts, random.ts or environment.ts; take theirs`);
  }
  for (const { what, line } of file.imports)
    if (TIMER_IMPORTS.test(what)) add(line, `${what}: take the clock of runtime/clock.ts`);
}

/** Words that YAML 1.1, and so kubectl and helm, read as true or false. */
export const YAML_BOOLEAN = /^(y|yes|n|no|on|off|true|false)$/i;
