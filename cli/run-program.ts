// Runs one command line, and turns what goes wrong into words and an exit code: 0 fine, 1 the answer is no, 2 wrong usage.
import { CommanderError } from 'commander';
import { EnvironmentError } from '../runtime/environment.ts';
import type { Streams } from './output/streams.ts';
import { completionOf, createProgram } from './program.ts';
import { UsageError } from './usage-error.ts';

const USAGE = 2;
const COMPLETE = '__complete';

/** `name`: "breakwater", or as which plugin it runs. Never rejects. */
export async function runProgram(name: string, args: readonly string[], streams: Streams): Promise<number> {
  const program = createProgram(name, streams);
  const [first, ...words] = args;
  // Asked by the scripts of shells. No command of the program, for its words are not to be understood but to be completed.
  if (first === COMPLETE) {
    streams.stdout.write(`${completionOf(program.command, words).join('\n')}\n`);
    return 0;
  }
  try {
    await program.command.parseAsync(args, { from: 'user' });
    return program.exitCode();
  } catch (error) {
    return tell(error, streams.stderr);
  }
}

function tell(error: unknown, stderr: NodeJS.WritableStream): number {
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : USAGE;
  if (error instanceof UsageError) {
    stderr.write(`${error.message}\n`);
    return error.exitCode;
  }
  if (error instanceof EnvironmentError) {
    stderr.write(`${error.message}\n`);
    return 1;
  }
  const text = error instanceof Error ? (error.stack ?? error.message) : String(error);
  stderr.write(`breakwater failed, which it should not: ${text}\n`);
  return 1;
}
