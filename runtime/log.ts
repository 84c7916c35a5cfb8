// pino, with constant messages and key/value fields. Secrets never reach a field; the redaction list is the second line of defence.
import { type Logger as PinoLogger, pino } from 'pino';

export type Logger = Pick<PinoLogger, 'debug' | 'info' | 'warn' | 'error' | 'fatal'> & {
  child(bindings: Record<string, unknown>): Logger;
};
export type LogLevel = 'debug' | 'info' | 'warn' | 'error' | 'silent';

/** Logs go to standard error, one JSON line each, so that standard output stays free for what a command answers. */
export function createLogger(component: string, level: LogLevel): Logger {
  return pino(
    {
      level,
      base: { component },
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
      redact: {
        paths: ['token', 'authorization', '*.token', '*.authorization', 'headers.authorization'],
        censor: '[redacted]',
      },
    },
    pino.destination({ fd: 2, sync: false }),
  );
}

export const silentLogger: Logger = pino({ level: 'silent' });
