// Rules: which requests have other values than those beside them.
import { z } from 'zod';
import { DOC_DEFAULT, dnsLabel, listMeta, mapList } from '../fields.ts';
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
        .meta({ description: 'The path as sent on the wire: percent-encoded, without a query.' }),
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

/** Fields that end at each hop or say where the message ends: they are read by whoever receives them, and not matched. */
export const UNMATCHABLE_HEADERS = [
  'host',
  'connection',
  'content-length',
  'transfer-encoding',
  'te',
  'upgrade',
  'keep-alive',
  'proxy-connection',
] as const;

const header = withRules(
  z.object({
    name: withRules(
      z.string().max(64, { abort: true }).meta({ description: 'Name of the header, case-insensitive.' }),
      [
        {
          cel: "self.matches('^[A-Za-z0-9!#$%&*+.^_|~-]+$')",
          message: 'a header name is letters, digits and "-", such as x-canary',
          holds: (value) => /^[A-Za-z0-9!#$%&*+.^_|~-]+$/.test(value),
        },
        {
          cel: `!(self.lowerAscii() in [${UNMATCHABLE_HEADERS.map((name) => `'${name}'`).join(', ')}])`,
          message: 'this header belongs to the connection or the framing and cannot be matched; name another one',
          holds: (value) => !(UNMATCHABLE_HEADERS as readonly string[]).includes(value.toLowerCase()),
        },
      ],
    ),
    type: z
      .enum(['Exact', 'Prefix', 'Present'])
      .meta({
        description:
          'Exact: the whole value, case-sensitive. Prefix: its beginning. Present: the header exists, with any value. Values of a repeated header are joined by ", ".',
        [DOC_DEFAULT]: 'Exact',
      })
      .optional(),
    value: withRules(z.string().max(128, { abort: true }).meta({ description: 'The value, or its prefix.' }), [
      {
        cel: "self.matches('^([!-~]([ -~]*[!-~])?)?$')",
        message: 'write a value of visible ASCII without spaces at its ends',
        holds: (value) => /^([!-~]([ -~]*[!-~])?)?$/.test(value),
      },
    ]).optional(),
  }),
  [
    {
      cel: "(has(self.type) && self.type == 'Present') != has(self.value)",
      message: 'Exact and Prefix need a value, and Present takes none; write value, or type: Present without it',
      holds: ({ type, value }) => (type === 'Present') !== (value !== undefined),
    },
  ],
);

const grpc = z
  .object({
    service: withRules(
      z
        .string()
        .max(253, { abort: true })
        .meta({ description: 'Full name of the service, with its package, such as shop.v1.Orders.' }),
      [
        {
          cel: "self.matches('^[A-Za-z_][A-Za-z0-9_]*([.][A-Za-z_][A-Za-z0-9_]*)*$')",
          message: 'write the service as in its .proto file, with its package, such as shop.v1.Orders',
          holds: (value) => /^[A-Za-z_]\w*(\.[A-Za-z_]\w*)*$/.test(value),
        },
      ],
    ),
    method: withRules(
      z.string().max(253, { abort: true }).meta({ description: 'Name of the method, such as Get; any if absent.' }),
      [
        {
          cel: "self.matches('^[A-Za-z_][A-Za-z0-9_]*$')",
          message: 'write the name of one method, such as Get',
          holds: (value) => /^[A-Za-z_]\w*$/.test(value),
        },
      ],
    ).optional(),
  })
  .meta({ description: 'Service and method of a gRPC call; replaces method and path.' });

const match = withRules(
  z.object({
    method: z
      .enum(['GET', 'HEAD', 'POST', 'PUT', 'DELETE', 'OPTIONS', 'PATCH', 'TRACE'])
      .meta({ description: 'Method of the request; any if absent.' })
      .optional(),
    path: path.optional(),
    grpc: grpc.optional(),
    headers: z
      .array(header.meta({ ...header.meta(), description: 'One header of the request.' }))
      .min(1)
      .max(4)
      .meta(listMeta('Headers of the request; all of them must match.', { type: 'atomic' }))
      .optional(),
  }),
  [
    {
      cel: 'has(self.method) || has(self.path) || has(self.grpc) || has(self.headers)',
      message:
        'a match names a method, a path, a call of gRPC or headers; write one of them, and what holds for every request beside rules',
      holds: ({ method, path: target, grpc: call, headers }) =>
        [method, target, call, headers].some((named) => named !== undefined),
    },
    {
      cel: '!has(self.grpc) || (!has(self.method) && !has(self.path))',
      message: 'grpc says method and path of the request already; remove method and path beside it',
      holds: ({ method, path: target, grpc: call }) =>
        call === undefined || (method === undefined && target === undefined),
    },
  ],
);

const rule = z.object({
  name: dnsLabel(
    'Name of this rule: unique in the object, used in metrics and answers. "base" is reserved for values outside rules.',
  ),
  matches: z
    .array(match.meta({ ...match.meta(), description: 'Matches if everything it names does.' }))
    .min(1)
    .max(16)
    .meta(listMeta('The rule matches if any of these does.', { type: 'atomic' })),
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
      'Values for some requests, which override those outside rules field by field. Only the first rule that matches a request applies.',
    keys: ['name'],
    max: 256,
  },
);
