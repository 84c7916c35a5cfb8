// `breakwater check`: reads, checks, prints.
import { readSources } from '../manifests/files.ts';
import { readerOf } from '../output/paint.ts';
import type { Streams } from '../output/streams.ts';
import { check } from './check.ts';
import { renderGitHub, renderText } from './render.ts';

export const CHECK_OUTPUTS = ['text', 'json', 'github'] as const;

export interface CheckCommandOptions {
  namespace: string;
  strict?: boolean;
  output: (typeof CHECK_OUTPUTS)[number];
}

/** Resolves to the exit code: 0 fine, 1 findings. Throws UsageError where something cannot be read. */
export async function runCheck(
  paths: readonly string[],
  { namespace, strict, output }: CheckCommandOptions,
  { stdin, stdout }: Streams,
): Promise<number> {
  const { report } = check(await readSources(paths, stdin), { namespace });
  const lines = {
    text: () => renderText(report, readerOf(stdout)),
    json: () => [JSON.stringify(report, null, 2)],
    github: () => renderGitHub(report),
  }[output]();
  if (lines.length > 0) stdout.write(`${lines.join('\n')}\n`);
  const { errors, warnings } = report.counts;
  return errors > 0 || (strict === true && warnings > 0) ? 1 : 0;
}
