// `breakwater capture`: the init container.
import type { Clock } from '../../runtime/clock.ts';
import type { Logger } from '../../runtime/log.ts';
import { installCapture, probeCapture } from './install.ts';
import type { CaptureSettings } from './rules.ts';

/** Installs and proves the rules; the exit code of the process. */
export async function runCapture(settings: CaptureSettings, clock: Clock, log: Logger): Promise<number> {
  try {
    for (const result of await installCapture(settings, log)) {
      if (result.tool === null) continue;
      const probe = await probeCapture(settings, result.family, clock);
      if (probe === 'not captured') {
        log.fatal(
          { family: result.family, tool: result.tool },
          'the rules are installed, but a trial connection did not arrive at the sidecar’s port',
        );
        return 1;
      }
      log.info({ family: result.family, probe }, 'capture was tried');
    }
    return 0;
  } catch (error) {
    log.fatal(
      { err: error },
      'outgoing connections cannot be captured: the container needs NET_ADMIN and NET_RAW as root, and the node a kernel with iptables or nf_tables NAT',
    );
    return 1;
  }
}
