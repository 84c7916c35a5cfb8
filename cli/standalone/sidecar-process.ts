// One sidecar as a plain child process: started, watched, and started again when it ends by itself.
import type { ChildProcess } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import type { Clock } from '../../runtime/clock.ts';
import type { Logger, LogLevel } from '../../runtime/log.ts';
import { SIDECAR_NODE_ENVIRONMENT, SIDECAR_NODE_FLAGS } from '../../sidecar/node-flags.ts';
import { endChild, exitOf, startFollowingChild } from '../following-child.ts';

const DRAIN_MS = 5_000;
/** Beyond the drain: for closing what is left. */
const STOP_GRACE_MS = DRAIN_MS + 2_000;
const RESTART_FIRST_MS = 250;
const RESTART_MAX_MS = 10_000;
/** One that ran so long was well: the next restart is quick again. */
const WELL_AFTER_MS = 30_000;

/** What the sidecar says of itself over IPC. */
const announcement = z.object({
  ready: z.literal(true),
  admin: z.string(),
  dependencies: z.record(z.string(), z.string()),
});
export type Announcement = z.infer<typeof announcement>;

export interface SidecarOptions {
  namespace: string;
  name: string;
  /** Of this sidecar alone: token, last good plan. Made and removed here. */
  folder: string;
  operatorUrl: string;
  caFile: string;
  /** Certificates for TLS to hosts. */
  certificatesFolder: string;
  logLevel: LogLevel;
  /** The sidecar as its image holds it, an absolute path; null: from its sources. */
  bundle: string | null;
  clock: Clock;
  log: Logger;
  onAnnounce: (announcement: Announcement) => void;
}

export class SidecarProcess {
  /** Its identity towards the operator. */
  readonly token = randomBytes(32).toString('base64url');
  readonly #options: SidecarOptions;
  #child: ChildProcess | undefined;
  #isStopped = false;
  #restartMs = RESTART_FIRST_MS;
  #cancelRestart: () => void = () => undefined;

  constructor(options: SidecarOptions) {
    this.#options = options;
  }

  /** Resolves when the process is started; `onAnnounce` says when it is ready. */
  async start(): Promise<void> {
    const { folder } = this.#options;
    await mkdir(join(folder, 'state'), { recursive: true, mode: 0o700 });
    await writeFile(join(folder, 'token'), this.token, { mode: 0o600 });
    this.#run();
  }

  /** Requests in progress may end; what it left on disk is removed. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    this.#cancelRestart();
    if (this.#child) await endChild(this.#child, STOP_GRACE_MS);
    await rm(this.#options.folder, { recursive: true, force: true });
  }

  kill(): void {
    this.#isStopped = true;
    this.#child?.kill('SIGKILL');
  }

  #run(): void {
    if (this.#isStopped) return;
    const { bundle, clock, onAnnounce } = this.#options;
    const startedMs = clock.monotonicMs();
    const child = startFollowingChild(bundle ?? 'sidecar/main.ts', [], {
      ipc: true,
      // A bundle is to run as in its image, with nothing loaded beside it: it ends with the IPC channel.
      preload: bundle === null,
      nodeFlags: SIDECAR_NODE_FLAGS,
      environment: this.#environment(),
    });
    this.#child = child;
    child.on('message', (message) => onAnnounce(announcement.parse(message)));
    void exitOf(child).then(({ code, signal }) => {
      if (this.#isStopped) return;
      if (clock.monotonicMs() - startedMs > WELL_AFTER_MS) this.#restartMs = RESTART_FIRST_MS;
      const { log, namespace, name } = this.#options;
      log.error(
        { workload: `${namespace}/${name}`, code, signal, restartMs: this.#restartMs },
        'a sidecar ended by itself and is started again',
      );
      this.#cancelRestart = clock.after(this.#restartMs, () => this.#run());
      this.#restartMs = Math.min(RESTART_MAX_MS, this.#restartMs * 2);
    });
  }

  #environment(): Record<string, string> {
    const { namespace, name, folder, operatorUrl, caFile, certificatesFolder, logLevel } = this.#options;
    return {
      ...SIDECAR_NODE_ENVIRONMENT,
      BREAKWATER_CAPTURE: 'explicit',
      BREAKWATER_OPERATOR_URL: operatorUrl,
      BREAKWATER_TOKEN_FILE: join(folder, 'token'),
      BREAKWATER_CA_FILE: caFile,
      BREAKWATER_CERTIFICATES_DIRECTORY: certificatesFolder,
      BREAKWATER_STATE_DIRECTORY: join(folder, 'state'),
      BREAKWATER_ADMIN_HOST: '127.0.0.1',
      BREAKWATER_ADMIN_PORT: '0',
      BREAKWATER_CONTROL_PORT: '0',
      BREAKWATER_POD_NAME: name,
      BREAKWATER_POD_NAMESPACE: namespace,
      BREAKWATER_LOG_LEVEL: logLevel,
      BREAKWATER_DRAIN_TIMEOUT_MS: String(DRAIN_MS),
      BREAKWATER_PARENT_WATCH: '1',
    };
  }
}
