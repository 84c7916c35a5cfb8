import { fallbackDefaults as defaults, FALLBACK_ALTERNATIVES } from '../../../crds/policies/fallback.ts';
import type { LastGoodPlan } from '../../../plan/policies/fallback.ts';
import type { BlockCompiler, Findings, Written } from './block.ts';

export const fallback: BlockCompiler<'fallback'> = {
  absent: null,
  hasState: true,
  needsCodec: 'All',
  toPlan(block, findings) {
    const { response, lastGood, dependency } = block;
    const fallbackOn = [...(block.fallbackOn ?? defaults.fallbackOn)].sort();
    tellWhatCannotAct(block, findings);
    return {
      fallbackOn,
      methods: block.methods ?? defaults.methods,
      response:
        response === undefined
          ? null
          : {
              statusCode: response.statusCode ?? defaults.response.statusCode,
              contentType: response.contentType ?? defaults.response.contentType,
              body: response.body ?? defaults.response.body,
            },
      lastGood: lastGood === undefined ? null : lastGoodPlan(lastGood, findings),
      dependency: dependency ?? null,
    };
  },
  fields: {
    fallbackOn: 'fallbackOn',
    methods: 'methods',
    response: 'response',
    lastGood: 'lastGood',
    dependency: 'dependency',
  },
};

function tellWhatCannotAct(block: Written<'fallback'>, { tell }: Findings): void {
  const { fallbackOn } = block;
  const written = FALLBACK_ALTERNATIVES.find((name) => block[name] !== undefined);
  if (written === undefined) {
    tell({
      reason: 'FallbackWithoutAnswer',
      fields: [['fallback', '']],
      details: {},
    });
  }
  if (written === 'dependency' && fallbackOn?.every((reason) => reason === 'Deadline')) {
    tell({
      reason: 'FallbackWithoutTime',
      fields: [
        ['fallback', 'fallbackOn'],
        ['fallback', 'dependency'],
      ],
      details: {},
    });
  }
  if (written === 'lastGood' && block.methods === 'All') {
    tell({
      reason: 'LastGoodForSafeMethods',
      fields: [
        ['fallback', 'methods'],
        ['fallback', 'lastGood'],
      ],
      details: {},
    });
  }
}

function lastGoodPlan(
  lastGood: NonNullable<Written<'fallback'>['lastGood']>,
  { tell, follow }: Findings,
): LastGoodPlan {
  const { lastGood: own } = defaults;
  let maxBytes = lastGood.maxBytes ?? own.maxBytes;
  let maxAnswerBytes = lastGood.maxAnswerBytes ?? own.maxAnswerBytes;
  if (maxAnswerBytes > maxBytes) {
    if (lastGood.maxBytes !== undefined && lastGood.maxAnswerBytes !== undefined) {
      tell({
        reason: 'AnswerExceedsLastGood',
        fields: [
          ['fallback', 'lastGood.maxAnswerBytes'],
          ['fallback', 'lastGood.maxBytes'],
        ],
        details: { maxAnswerBytes, maxBytes },
      });
    }
    // A bound that somebody wrote holds; a default gives way to what somebody wrote.
    if (lastGood.maxBytes !== undefined) {
      maxAnswerBytes = maxBytes;
      follow('fallback.lastGood.maxAnswerBytes', 'fallback.lastGood.maxBytes');
    } else {
      maxBytes = maxAnswerBytes;
      follow('fallback.lastGood.maxBytes', 'fallback.lastGood.maxAnswerBytes');
    }
  }
  return {
    maxAgeMs: lastGood.maxAge ?? own.maxAge,
    maxBytes,
    maxAnswerBytes,
    audience: lastGood.audience ?? own.audience,
    keyHeaders: [...new Set((lastGood.keyHeaders ?? own.keyHeaders).map((name) => name.toLowerCase()))].sort(),
  };
}
