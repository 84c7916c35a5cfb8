// `breakwater explain`: from files or from a cluster, to a terminal or to a program.
import { check } from '../check/check.ts';
import { renderFinding } from '../check/render.ts';
import { suggestion } from '../check/similar.ts';
import type { ClusterOptions } from '../cluster/connect.ts';
import { readSources } from '../manifests/files.ts';
import { type Reader, readerOf } from '../output/paint.ts';
import type { Streams } from '../output/streams.ts';
import { UsageError } from '../usage-error.ts';
import { type Answer, explain, type Seen, type Subject } from './explain.ts';
import type { Explanation } from './explanation.ts';
import { questionFromFiles } from './from-files.ts';
import { renderExplanation } from './render.ts';
import { parseDependency, parseRequest, parseWorkload, type WorkloadReference } from './target.ts';

export interface ExplainCommandOptions extends ClusterOptions {
  filename?: readonly string[];
  method?: string;
  path?: string;
  header?: readonly string[];
  output: 'text' | 'json';
}

/** Resolves to the exit code. Throws UsageError. */
export async function runExplain(
  workloadText: string,
  dependencyText: string | undefined,
  options: ExplainCommandOptions,
  streams: Streams,
): Promise<number> {
  const workload = parseWorkload(workloadText);
  const dependency = dependencyText === undefined ? undefined : parseDependency(dependencyText);
  const request = parseRequest(options.method, options.path, options.header ?? [], dependency?.path);
  const seen = await see(workload, options, streams);
  if (seen === undefined) return 1;
  const answer = explain({ ...seen, dependency, request });
  const explanation = explanationOf(answer, seen.subject, dependencyText);
  const lines =
    options.output === 'json'
      ? [JSON.stringify(explanation, null, 2)]
      : renderExplanation(explanation, readerOf(streams.stdout));
  streams.stdout.write(`${lines.join('\n')}\n`);
  return 0;
}

/** Undefined where the files are wrong; why was said. */
async function see(
  workload: WorkloadReference,
  options: ExplainCommandOptions,
  streams: Streams,
): Promise<Seen | undefined> {
  if (options.filename === undefined) {
    const { questionFromCluster } = await import('./from-cluster.ts');
    return questionFromCluster(workload, options);
  }
  const checked = check(await readSources(options.filename, streams.stdin), {
    namespace: options.namespace ?? 'default',
  });
  const wrong = checked.report.findings.filter(
    ({ severity, reason }) => severity === 'error' && PREVENTING.has(reason),
  );
  if (wrong.length === 0) return questionFromFiles(checked, workload, options.namespace);
  const reader: Reader = readerOf(streams.stderr);
  streams.stderr.write(`${wrong.flatMap((finding) => renderFinding(finding, reader)).join('\n')}\n`);
  streams.stderr.write('a cluster would not take these files as they are; put them right, and ask again\n');
  return undefined;
}

/** What keeps a file from being applied at all; references that lead nowhere are part of what is explained. */
const PREVENTING: ReadonlySet<string> = new Set([
  'NotYaml',
  'DuplicateKey',
  'NoObject',
  'UnknownKind',
  'UnknownField',
  'Invalid',
  'Unreadable',
]);

function explanationOf(answer: Answer, subject: Subject, dependency: string | undefined): Explanation {
  if (answer.ok) return answer.explanation;
  const { kind, namespace, name, pod } = subject;
  const known = answer.known.join(', ');
  if (answer.reason === 'NoSuchDependency') {
    const names = answer.known.map((one) => one.split(' ', 1)[0] ?? '');
    const hint = suggestion(dependency ?? '', names) || `; it has ${known}`;
    throw new UsageError(`${kind} ${namespace}/${name} has no dependency ${dependency}${hint}`, 1);
  }
  const labels = Object.entries(pod?.labels ?? {}).map(([key, value]) => `${key}=${value}`);
  const there = known === '' ? 'there is none' : `there are ${known}; compare their consumer.selector`;
  throw new UsageError(
    `no ServiceDependency of namespace ${namespace} selects the pods of ${kind} ${name} (labels ${labels.join(',') || 'none'}), so its calls pass untouched: ${there}`,
    1,
  );
}
