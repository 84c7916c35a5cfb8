// `breakwater disable | enable | status`: what a person types at 3 a.m. in `kubectl exec … -c breakwater -- breakwater disable`. Answers in plain
// words on standard output; 0 means that it is so.
import type { ControlConfig } from '../config.ts';
import { readControlPort } from './control-file.ts';
import { readMarker, writeMarker } from './kill-switch.ts';

export type ControlCommand = 'disable' | 'enable' | 'status';

export const CONTROL_HEADER = 'breakwater-control';
const TIMEOUT_MS = 5_000;

/** Returns the exit code; `print` takes whole lines. */
export async function runControlCommand(
  command: ControlCommand,
  config: ControlConfig,
  print: (line: string) => void,
): Promise<number> {
  const answer = await askSidecar(command, config);
  if ('text' in answer) {
    print(answer.text.trimEnd());
    return answer.ok ? 0 : 1;
  }
  print(`the sidecar does not answer: ${answer.problem}`);
  const { stateDirectory } = config;
  if (stateDirectory === null) {
    const where = 'run it in the container of a sidecar: kubectl exec POD -c breakwater -- breakwater';
    print(
      `BREAKWATER_STATE_DIRECTORY is not set${command === 'status' ? '' : ', so nothing was changed'}; ${where} ${command}`,
    );
    return 1;
  }
  if (command === 'status') {
    print(`its marker says that it will start ${(await readMarker(stateDirectory)) ? 'disabled' : 'enabled'}`);
    return 1;
  }
  try {
    await writeMarker(stateDirectory, command === 'disable');
  } catch (error) {
    print(`the marker in ${stateDirectory} cannot be written either: ${(error as Error).message}`);
    return 1;
  }
  print(`the marker is set: it will start ${command}d`);
  return 1;
}

type Answer = { ok: boolean; text: string } | { problem: string };

async function askSidecar(command: ControlCommand, config: ControlConfig): Promise<Answer> {
  const port = config.controlPort === 0 ? await readControlPort(config.stateDirectory) : config.controlPort;
  if (port === null) return { problem: 'no sidecar has left its control port in the state directory' };
  try {
    const response = await fetch(`http://127.0.0.1:${port}/${command}`, {
      method: command === 'status' ? 'GET' : 'POST',
      headers: { [CONTROL_HEADER]: '1', accept: 'text/plain' },
      signal: AbortSignal.timeout(TIMEOUT_MS),
    });
    return { ok: response.ok, text: await response.text() };
  } catch (error) {
    const { message, cause } = error as Error;
    return { problem: cause instanceof Error ? cause.message : message };
  }
}
