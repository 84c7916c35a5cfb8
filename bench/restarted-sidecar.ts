// A sidecar that is started again and again from what an earlier one left on disk, by itself, as its image starts it: the same flags, the
// same compile cache, and no operator to ask.
import { existsSync, readFileSync } from 'node:fs';
import { cp, mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { systemClock as clock } from '../runtime/clock.ts';
import { SIDECAR_NODE_ENVIRONMENT, SIDECAR_NODE_FLAGS } from '../sidecar/node-flags.ts';
import { untilServing } from './loopback.ts';
import type { Program } from './processes.ts';
import { startOurs } from './proxies/breakwater.ts';
import type { Setting } from './setting.ts';

const LEFT_WITHIN_MS = 15_000;
const LOOK_EVERY_MS = 50;
/** What a sidecar needs to be what it was. */
const STATE_FILES = ['plan.state', 'endpoints.state', 'listening.json'];
const READY_PATH = '/readyz';

export interface RestartedSidecar {
  port: number;
  adminPort: number;
  /** With this before it, such as `valgrind` and its options. */
  start: (cpu: number, ...wrapper: readonly string[]) => Program;
}

/** Runs `breakwater standalone` over `manifests` until its sidecar has everything on disk, and ends it. `name`: of a folder of its own. */
export async function leaveOnDisk(setting: Setting, name: string, manifests: string): Promise<RestartedSidecar> {
  const { processes, proxyCpu } = setting;
  const folder = join(setting.folder, name);
  await mkdir(folder, { recursive: true });
  const { port, adminPort, pid, bundle, stop } = await startOurs({ ...setting, folder }, manifests);
  let environment: Record<string, string>;
  try {
    environment = await keep(environmentOf(pid), folder);
  } finally {
    await stop();
  }
  const start = (cpu: number, ...wrapper: readonly string[]) =>
    processes.start(cpu, 'env', [...wrapper, process.execPath, ...SIDECAR_NODE_FLAGS, bundle], {
      ...SIDECAR_NODE_ENVIRONMENT,
      ...environment,
    });
  await fillCompileCache(start(proxyCpu), adminPort);
  return { port, adminPort, start };
}

function environmentOf(pid: number): Record<string, string> {
  const variables = readFileSync(`/proc/${pid}/environ`, 'utf8').split('\0');
  const pairs = variables.map((each) => [each.slice(0, each.indexOf('=')), each.slice(each.indexOf('=') + 1)]);
  return Object.fromEntries(pairs.filter(([key]) => key?.startsWith('BREAKWATER_'))) as Record<string, string>;
}

/** Its files are copied, for they go with it; the rest of its environment is what it was. */
async function keep(environment: Record<string, string>, folder: string): Promise<Record<string, string>> {
  const state = environment['BREAKWATER_STATE_DIRECTORY'] ?? '';
  const deadlineMs = clock.monotonicMs() + LEFT_WITHIN_MS;
  for (const file of STATE_FILES) {
    while (!existsSync(join(state, file))) {
      if (clock.monotonicMs() > deadlineMs) throw new Error(`the sidecar left no ${file} in ${state}`);
      await clock.sleep(LOOK_EVERY_MS);
    }
  }
  const kept: Record<string, string> = { ...environment };
  for (const name of ['BREAKWATER_STATE_DIRECTORY', 'BREAKWATER_TOKEN_FILE', 'BREAKWATER_CA_FILE']) {
    kept[name] = join(folder, name);
    await cp(environment[name] ?? '', kept[name], { recursive: true });
  }
  // It ends with the bench (processes.ts), and nobody has a channel to it.
  delete kept['BREAKWATER_PARENT_FD'];
  return {
    ...kept,
    BREAKWATER_PARENT_WATCH: '0',
    NODE_ENV: 'production',
    NODE_COMPILE_CACHE: join(folder, 'compile-cache'),
  };
}

/** As Dockerfile.sidecar does: what a run has compiled is written when it ends. */
async function fillCompileCache(program: Program, adminPort: number): Promise<void> {
  await Promise.race([untilServing(adminPort, READY_PATH), program.failed]);
  await program.end();
}
