// The port on 127.0.0.1: what is in force, and the local kill switch. Other containers of the pod can reach it, too, but only act on their own
// pod's calls; the header keeps a request that something else was talked into making from throwing the switch.
import type { IncomingMessage } from 'node:http';
import { type Answer, type Routes, type RunningServer, type ServerOptions, startServer } from '../admin/server.ts';
import { CONTROL_HEADER } from './command.ts';
import { writeControlPort } from './control-file.ts';

export interface ControlServerOptions extends Omit<ServerOptions, 'host'> {
  /** The port is left there for commands that do not know it; null: nowhere. */
  stateDirectory: string | null;
  /** One line each. */
  status(): string[];
  /** What is applied, for JSON. */
  plan(): unknown;
  isDisabled(): boolean;
  /** The text says why the change will not outlive the process; empty: it will. */
  setDisabled(disabled: boolean): Promise<string>;
}

/** Throws what listening throws. */
export async function startControlServer(options: ControlServerOptions): Promise<RunningServer> {
  const routes: Routes = {
    'GET /status': () => ({ text: `${options.status().join('\n')}\n` }),
    'GET /plan': () => ({ type: 'application/json; charset=utf-8', text: JSON.stringify(options.plan()) }),
    'POST /disable': (request) => setDisabled(options, request, true),
    'POST /enable': (request) => setDisabled(options, request, false),
  };
  const running = await startServer(routes, { ...options, host: '127.0.0.1' });
  if (options.stateDirectory !== null) {
    await writeControlPort(options.stateDirectory, running.port).catch((error: unknown) => {
      options.log.warn({ err: error }, 'the control port cannot be left in the state directory');
    });
  }
  return running;
}

async function setDisabled(
  options: ControlServerOptions,
  { headers }: IncomingMessage,
  disabled: boolean,
): Promise<Answer> {
  if (headers[CONTROL_HEADER] === undefined) return { status: 403, text: `the header ${CONTROL_HEADER} is missing\n` };
  const was = options.isDisabled();
  const problem = await options.setDisabled(disabled);
  const lasting = problem === '' ? '' : `\nbut it will not outlive this process: ${problem}`;
  return { text: `${answer(was, disabled)}${lasting}\n` };
}

function answer(was: boolean, disabled: boolean): string {
  const already = was === disabled ? 'already ' : '';
  return disabled
    ? `${already}disabled: this sidecar forwards everything without policies; \`breakwater enable\` ends it`
    : `${already}enabled: the policies of the plan act`;
}
