// PostgreSQL and Redis as real servers of their own, on 127.0.0.1, with folders of their own. Whoever starts one stops it.
import { execFile } from 'node:child_process';
import { chownSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { freePorts } from '../../bench/loopback.ts';
import { Processes, type Program } from '../../bench/processes.ts';
import { temporaryFolder } from '../harness/temporary-folder.ts';
import { until } from '../standalone/harness.ts';
import { partPath } from './parts.ts';

const run = promisify(execFile);
/** Of the user that Debian makes for PostgreSQL, which refuses to run as root. */
const DATABASE_USER = 'postgres';

/** A server that can be killed, and come back at its port with what it had. */
export class DatabaseServer {
  readonly port: number;
  readonly #processes = new Processes();
  readonly #folder: string;
  readonly #command: readonly [command: string, ...args: string[]];
  readonly #answers: () => Promise<unknown>;
  #program: Program | null = null;

  constructor(port: number, folder: string, command: readonly [string, ...string[]], answers: () => Promise<unknown>) {
    this.port = port;
    this.#folder = folder;
    this.#command = command;
    this.#answers = answers;
  }

  /** Resolves when it answers. */
  async start(): Promise<void> {
    const [command, ...args] = this.#command;
    const program = this.#processes.start(0, command, args);
    this.#program = program;
    const answered = until(
      () =>
        this.#answers().then(
          () => true,
          () => false,
        ),
      () => `${command} answers:\n${program.tail()}`,
    );
    await Promise.race([answered, program.failed]);
  }

  /** All of its connections are gone at once, and nobody listens. */
  async kill(): Promise<void> {
    const program = this.#program;
    if (!program) return;
    process.kill(program.pid, 'SIGQUIT');
    await program.failed.catch(() => undefined);
    this.#program = null;
  }

  async stop(): Promise<void> {
    await this.#processes.endAll();
    rmSync(this.#folder, { recursive: true, force: true });
  }
}

/** PostgreSQL with an empty database, without a password, and without waiting for the disk. */
export async function startPostgres(): Promise<DatabaseServer> {
  const [port = 0] = await freePorts(1);
  const folder = temporaryFolder('postgres');
  const asUser =
    process.getuid?.() === 0
      ? ['setpriv', `--reuid=${DATABASE_USER}`, `--regid=${DATABASE_USER}`, '--init-groups']
      : [];
  if (asUser.length > 0) {
    const [uid, gid] = (await Promise.all(['-u', '-g'].map((flag) => run('id', [flag, DATABASE_USER])))).map(
      ({ stdout }) => Number(stdout),
    );
    chownSync(folder, uid ?? 0, gid ?? 0);
  }
  const data = join(folder, 'data');
  const initialise = [
    ...asUser,
    partPath('initdb'),
    '-D',
    data,
    '-U',
    'postgres',
    '--auth=trust',
    '--no-sync',
    '--no-locale',
  ];
  await run(initialise[0] ?? '', initialise.slice(1), { cwd: folder });
  const settings = {
    listen_addresses: '127.0.0.1',
    unix_socket_directories: '',
    fsync: 'off',
    logging_collector: 'off',
  };
  const command = [
    ...asUser,
    partPath('postgres'),
    '-D',
    data,
    '-p',
    String(port),
    ...Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`]),
  ] as unknown as [string, ...string[]];
  const server = new DatabaseServer(port, folder, command, () => psql(port, 'select 1'));
  await server.start();
  return server;
}

export async function startRedis(): Promise<DatabaseServer> {
  const [port = 0] = await freePorts(1);
  const folder = temporaryFolder('redis');
  const command = [
    partPath('redis-server'),
    '--port',
    String(port),
    '--bind',
    '127.0.0.1',
    '--dir',
    folder,
    '--save',
    '',
  ] as const;
  const server = new DatabaseServer(port, folder, [...command], () => redis(port, 'PING'));
  await server.start();
  return server;
}

export const psqlArguments = (port: number): string[] => [
  `postgresql://postgres@127.0.0.1:${port}/postgres?connect_timeout=10`,
  '--no-psqlrc',
  '--no-align',
  '--tuples-only',
  '--quiet',
  '--set=ON_ERROR_STOP=1',
];

/** What one statement gives. Rejects with what psql says. */
export async function psql(port: number, statement: string): Promise<string> {
  const { stdout } = await run(partPath('psql'), [...psqlArguments(port), '-c', statement], { maxBuffer: 2 ** 28 });
  return stdout.trim();
}

export const redisArguments = (port: number): string[] => ['-h', '127.0.0.1', '-p', String(port)];

/** What one command gives. Rejects with what redis-cli says. */
export async function redis(port: number, ...command: string[]): Promise<string> {
  const { stdout, stderr } = await run(partPath('redis-cli'), [...redisArguments(port), '-e', ...command], {
    maxBuffer: 2 ** 28,
  });
  if (stderr !== '') throw new Error(stderr);
  return stdout.trim();
}
