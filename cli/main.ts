// The command line: runs the program, and turns what goes wrong into words and an exit code. 0 fine, 1 the answer is no, 2 wrong usage.
import { CommanderError } from 'commander';
import { EnvironmentError } from '../runtime/environment.ts';
import { createProgram } from './program.ts';
import { UsageError } from './usage-error.ts';

const USAGE = 2;

// A reader that has seen enough (`| head`) is no failure.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  process.exit(error.code === 'EPIPE' ? 0 : 1);
});

const [name, args] = invocation(process.argv.slice(2));
const program = createProgram(name, process);
try {
  await program.command.parseAsync(args, { from: 'user' });
  process.exitCode = program.exitCode();
} catch (error) {
  process.exitCode = tell(error);
}

/** A launcher that has another name says so first: `kubectl-breakwater` is found by kubectl and runs as its plugin. */
function invocation(given: string[]): [string, string[]] {
  const [first = ''] = given;
  return first.startsWith('--invoked-as=')
    ? [first.slice('--invoked-as='.length), given.slice(1)]
    : ['breakwater', given];
}

function tell(error: unknown): number {
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : USAGE;
  if (error instanceof UsageError) {
    process.stderr.write(`${error.message}\n`);
    return error.exitCode;
  }
  if (error instanceof EnvironmentError) {
    process.stderr.write(`${error.message}\n`);
    return 1;
  }
  const text = error instanceof Error ? (error.stack ?? error.message) : String(error);
  process.stderr.write(`breakwater failed, which it should not: ${text}\n`);
  return 1;
}
