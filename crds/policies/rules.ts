// Rules: which requests have other values than those beside them.
import { z } from 'zod';
import { dnsLabel, listMeta, mapList } from '../fields.ts';
import { withRules } from '../rules.ts';
import { blocks } from './blocks.ts';

const path = z
  .object({
    type: z.enum(['Exact', 'PathPrefix']).meta({
      description:
        'Exact: the whole path. PathPrefix: whole segments from its start, so /a matches /a and /a/b, not /ab.',
    }),
    value: withRules(
      z
        .string()
        .max(1024, { abort: true })
        .meta({ description: 'The path, as it is on the wire: percent-encoded, without a query.' }),
      [
        {
          cel: "self.startsWith('/')",
          message: 'write a path that starts with "/", such as /charges',
          holds: (value) => value.startsWith('/'),
        },
        {
          cel: "!self.contains('?') && !self.contains('#')",
          message: 'a path has no query and no fragment; remove what follows "?" or "#"',
          holds: (value) => !/[?#]/.test(value),
        },
        {
          cel: "!self.contains('//') && !self.matches('/[.][.]?(/|$)')",
          message: 'a path has no empty segment, "." or ".."; write the path as the server sees it',
          holds: (value) => !/\/\/|\/\.\.?(\/|$)/.test(value),
        },
        {
          cel: "self.matches('^[!-~]*$')",
          message: 'a path is visible ASCII; percent-encode spaces and other characters',
          holds: (value) => /^[!-~]*$/.test(value),
        },
      ],
    ),
  })
  .meta({ description: 'Path of the request.' });

const match = withRules(
  z.object({
    method: z
      .enum(['GET', 'HEAD', 'POST', 'PUT', 'DELETE', 'OPTIONS', 'PATCH', 'TRACE'])
      .meta({ description: 'Method of the request; any where absent.' })
      .optional(),
    path: path.optional(),
  }),
  [
    {
      cel: 'has(self.method) || has(self.path)',
      message:
        'a match names a method, a path or both; write one of them, and what holds for every request beside rules',
      holds: (it) => it.method !== undefined || it.path !== undefined,
    },
  ],
);

const rule = z.object({
  name: dnsLabel(
    'Name of this rule: unique in the object, used in metrics and answers. "base" is taken by what stands beside rules.',
  ),
  matches: z
    .array(match.meta({ ...match.meta(), description: 'Matches where everything it names does.' }))
    .min(1)
    .max(16)
    .meta(listMeta('The rule matches where any of these does.', { type: 'atomic' })),
  ...blocks,
});

export const rules = mapList(
  withRules(rule.meta({ description: 'Other values for some requests.' }), [
    {
      cel: "self.name != 'base'",
      message: 'the name base stands for what is beside rules; rename the rule',
      fieldPath: '.name',
      holds: (it) => it.name !== 'base',
    },
  ]),
  {
    description:
      'Values for some requests, field by field over those beside rules. The first rule that matches a request counts, no other.',
    keys: ['name'],
    max: 256,
  },
);
