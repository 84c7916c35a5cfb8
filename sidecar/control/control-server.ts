// The port on 127.0.0.1: what is in force, and the local kill switch. Other containers of the pod can reach it, too, but only act on their own
// pod's calls; the header keeps a request that something else was talked into making from throwing the switch.
import type { Logger } from '../../runtime/log.ts';
import { createServer, listenOn, type RunningServer } from '../admin/server.ts';
import { CONTROL_HEADER } from './command.ts';
import { writeControlPort } from './control-file.ts';

export interface ControlServerOptions {
  /** 0: a free one. */
  port: number;
  /** The port is left there for commands that do not know it; null: nowhere. */
  stateDirectory: string | null;
  /** One line each. */
  status(): string[];
  /** What is applied, for JSON. */
  plan(): unknown;
  isDisabled(): boolean;
  /** The text says why the change will not outlive the process; empty: it will. */
  setDisabled(disabled: boolean): Promise<string>;
  log: Logger;
}

/** Throws what listening throws. */
export async function startControlServer(options: ControlServerOptions): Promise<RunningServer> {
  const server = await createServer();
  server.get('/status', (_request, reply) => reply.type('text/plain').send(`${options.status().join('\n')}\n`));
  server.get('/plan', (_request, reply) => reply.send(options.plan()));
  for (const [path, disabled] of [
    ['/disable', true],
    ['/enable', false],
  ] as const) {
    server.post(path, async (request, reply) => {
      reply.type('text/plain');
      if (request.headers[CONTROL_HEADER] === undefined)
        return reply.code(403).send(`the header ${CONTROL_HEADER} is missing\n`);
      const was = options.isDisabled();
      const problem = await options.setDisabled(disabled);
      return reply.send(
        `${answer(was, disabled)}${problem === '' ? '' : `\nbut it will not outlive this process: ${problem}`}\n`,
      );
    });
  }
  const running = await listenOn(server, '127.0.0.1', options.port);
  if (options.stateDirectory !== null) {
    await writeControlPort(options.stateDirectory, running.port).catch((error: unknown) => {
      options.log.warn({ err: error }, 'the control port cannot be left in the state directory');
    });
  }
  return running;
}

function answer(was: boolean, disabled: boolean): string {
  const already = was === disabled ? 'already ' : '';
  return disabled
    ? `${already}disabled: this sidecar forwards everything without policies; \`breakwater enable\` ends it`
    : `${already}enabled: the policies of the plan act`;
}
