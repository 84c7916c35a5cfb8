// For tests: a command line run in this process, with what it prints.
import { Readable, Writable } from 'node:stream';
import { runProgram } from './run-program.ts';

export interface Ran {
  code: number;
  stdout: string;
  stderr: string;
}

export async function run(args: readonly string[], stdin = '', name = 'breakwater'): Promise<Ran> {
  const [stdout, stderr] = [new Collector(), new Collector()];
  const code = await runProgram(name, args, { stdin: Readable.from([Buffer.from(stdin)]), stdout, stderr });
  return { code, stdout: stdout.text, stderr: stderr.text };
}

class Collector extends Writable {
  text = '';

  override _write(chunk: Buffer, _encoding: string, done: () => void): void {
    this.text += chunk.toString();
    done();
  }
}
