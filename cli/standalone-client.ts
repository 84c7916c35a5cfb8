// Starts `breakwater standalone` as a user would, and reads the line that says that it is ready.
import type { ChildProcess } from 'node:child_process';
import { createInterface } from 'node:readline';
import { endChild, exitOf, startFollowingChild } from './following-child.ts';
import { type ReadyLine, readyLine } from './standalone/ready-line.ts';

const STOP_GRACE_MS = 15_000;

export interface RunningStandalone {
  ready: ReadyLine;
  child: ChildProcess;
  stop(): Promise<void>;
}

/** Rejects where it ends before it is ready; what was wrong stands on standard error. */
export async function startStandalone(folder: string, args: readonly string[] = []): Promise<RunningStandalone> {
  const child = startFollowingChild('cli/main.ts', ['standalone', folder, ...args], { output: 'pipe' });
  const output = child.stdout;
  if (output === null) throw new Error('standalone has no standard output');
  const firstLine = new Promise<ReadyLine>((resolve, reject) => {
    createInterface({ input: output }).once('line', (line) => {
      try {
        resolve(readyLine.parse(JSON.parse(line)));
      } catch (error) {
        reject(new Error(`standalone said something else than that it is ready: ${line}`, { cause: error }));
      }
    });
    void exitOf(child).then(({ code, signal }) =>
      reject(new Error(`standalone ended before it was ready (${signal ?? code})`)),
    );
  });
  try {
    return { ready: await firstLine, child, stop: async () => void (await endChild(child, STOP_GRACE_MS)) };
  } catch (error) {
    await endChild(child, STOP_GRACE_MS);
    throw error;
  }
}
