import type { BlockCompiler } from './block.ts';

export const faultInjection: BlockCompiler<'faultInjection'> = {
  absent: null,
  hasState: false,
  needsCodec: 'All',
  toPlan({ delay, abort }) {
    return {
      delay: delay === undefined ? null : { fixedMs: delay.fixed, percent: delay.percent },
      abort: abort === undefined ? null : { statusCode: abort.statusCode, percent: abort.percent },
    };
  },
  fields: { delay: 'delay', abort: 'abort' },
};
