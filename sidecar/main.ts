// The sidecar's commands.
import { systemClock } from '../runtime/clock.ts';
import { EnvironmentError } from '../runtime/environment.ts';
import { createLogger } from '../runtime/log.ts';
import { runCapture } from './capture/command.ts';
import { readCaptureConfig, readControlConfig, readSidecarConfig } from './config.ts';
import { runControlCommand } from './control/command.ts';
import { watchForStop } from './control/shutdown.ts';
import { createDataPlane } from './proxy/data-plane.ts';
import { startSidecar } from './start.ts';

async function runSidecar(): Promise<number> {
  const config = readSidecarConfig();
  const { podName, podNamespace } = config.pod;
  const logger = createLogger('sidecar', config.logLevel);
  // Several sidecars may share one standard error, as in standalone mode.
  const log = podName === '' ? logger : logger.child({ pod: `${podNamespace}/${podName}` });
  // Before anything else starts: a parent that is gone already must not leave us behind.
  const stop = watchForStop(config.parentWatch);
  const sidecar = await startSidecar(config, log, { createDataPlane });
  log.info(
    { capture: config.capture, adminPort: sidecar.adminPort, controlPort: sidecar.controlPort },
    'sidecar started',
  );
  await stop.first;
  log.info({ inFlight: sidecar.dataPlane.inFlight(), timeoutMs: config.drainTimeoutMs }, 'draining');
  const empty = await sidecar.drain(stop.urgent);
  log.info({ empty, inFlight: sidecar.dataPlane.inFlight() }, 'stopping');
  await Promise.race([sidecar.stop(), systemClock.sleep(STOP_TIMEOUT_MS)]);
  return 0;
}

/** Nothing is in progress any more that would be worth a longer wait, for instance for a disk that does not answer. */
const STOP_TIMEOUT_MS = 5_000;

const USAGE = `breakwater [sidecar]   run the sidecar (the default)
breakwater capture     redirect this pod's outgoing connections to it
breakwater disable     forward everything without policies, until \`breakwater enable\`
breakwater enable      let the policies act again
breakwater status      what is in force in this sidecar
`;

/** Runs one command; the exit code of the process. */
export async function run(command: string): Promise<number> {
  switch (command) {
    case 'sidecar':
      return runSidecar();
    case 'capture': {
      const config = readCaptureConfig();
      return runCapture(config, systemClock, createLogger('capture', config.logLevel));
    }
    case 'disable':
    case 'enable':
    case 'status':
      return runControlCommand(command, readControlConfig(), (line) => process.stdout.write(`${line}\n`));
    default:
      process.stdout.write(USAGE);
      return command === 'help' || command === '--help' ? 0 : 2;
  }
}

// Without await at the top, which a CommonJS bundle cannot have.
if (import.meta.main) {
  void run(process.argv[2] ?? 'sidecar')
    .catch((error: unknown) => {
      const problem = error instanceof EnvironmentError ? { problem: error.message } : { err: error };
      createLogger('sidecar', 'info').fatal(problem, 'breakwater cannot run');
      return 1;
    })
    .then((code) => process.exit(code));
}
