// What is wrong with a folder of manifests, before anything is started: what `breakwater check` says of it. While standalone runs, the
// operator itself keeps the last good version of a file instead.
import { stat } from 'node:fs/promises';
import { check } from '../check/check.ts';
import { renderFinding } from '../check/render.ts';
import type { Finding } from '../check/report.ts';
import { readSources } from '../manifests/files.ts';
import { readerOf } from '../output/paint.ts';
import type { Streams } from '../output/streams.ts';
import { UsageError } from '../usage-error.ts';

/** False where it cannot be run as it is; why was said. Throws UsageError where there is nothing to run. */
export async function checkFolder(folder: string, { stdin, stderr }: Streams): Promise<boolean> {
  const sources = await readSources([folder], stdin);
  if (!(await stat(folder)).isDirectory()) {
    throw new UsageError(`${folder} is a file: name the folder that holds the manifests`);
  }
  const { report, manifests } = check(sources, { namespace: 'default' });
  const reader = readerOf(stderr);
  const said = report.findings.filter(({ severity }) => severity !== 'note').map(asHere);
  if (said.length > 0) stderr.write(`${said.flatMap((finding) => renderFinding(finding, reader)).join('\n')}\n`);
  if (said.some(({ severity }) => severity === 'error')) {
    stderr.write(`${folder} cannot be run as it is\n`);
    return false;
  }
  const { world, templates } = manifests;
  if (world.serviceDependencies.length === 0 && !templates.some(({ kind }) => kind === 'Pod')) {
    throw new UsageError(`${folder} has no Pod and no ServiceDependency: there is nobody to run a sidecar for`);
  }
  return true;
}

const STOPPING: ReadonlySet<string> = new Set([
  'NotYaml',
  'DuplicateKey',
  'NoObject',
  'UnknownKind',
  'Invalid',
  'Unreadable',
]);

/** Fields that nobody knows have no effect here, and references that lead nowhere leave a condition: the rest of the folder can run. */
function asHere(finding: Finding): Finding {
  if (STOPPING.has(finding.reason)) return finding;
  const message =
    finding.reason === 'UnknownField'
      ? `${finding.message}${finding.message.endsWith('?') ? '' : '.'} It has no effect here`
      : finding.message;
  return { ...finding, severity: 'warning', message };
}
