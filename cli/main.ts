// The entry of the command line.
import { runProgram } from './run-program.ts';

/** What a launcher of another name says first: `kubectl-breakwater` is found by kubectl, and runs as its plugin. */
const INVOKED_AS = '--invoked-as=';

// A reader that has seen enough (`| head`) is no failure.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  process.exit(error.code === 'EPIPE' ? 0 : 1);
});

const args = process.argv.slice(2);
const isNamed = args[0]?.startsWith(INVOKED_AS) ?? false;
const name = isNamed ? (args.shift() ?? '').slice(INVOKED_AS.length) : 'breakwater';
process.exitCode = await runProgram(name, args, process);
