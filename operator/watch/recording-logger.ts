// For tests: keeps what an operator would read, "warn watch failed", and leaves out what is for debugging.
import type { Logger } from '../../runtime/log.ts';

export function recordingLogger(lines: string[]): Logger {
  const told = (level: string) => (_fields: unknown, message?: string) => void lines.push(`${level} ${message}`);
  return {
    debug: () => undefined,
    info: told('info'),
    warn: told('warn'),
    error: told('error'),
    fatal: told('fatal'),
    child: () => recordingLogger(lines),
  };
}
