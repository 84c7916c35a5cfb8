// What `breakwater check` found: one value, which every form of output renders. The schema is the contract of `--output json`.
import { z } from 'zod';

export const SEVERITIES = ['error', 'warning', 'note'] as const;

export const finding = z.strictObject({
  severity: z.enum(SEVERITIES).meta({
    description: 'error: must be put right. warning: fails the check only with --strict. note: good to know.',
  }),
  reason: z
    .string()
    .meta({ description: 'One CamelCase word for programs: Invalid, UnknownField, …, or a reason of docs/errors.md.' }),
  message: z.string().meta({ description: 'What is wrong and what to change.' }),
  file: z.string().meta({ description: 'As given, or below the folder as given; "<stdin>" for standard input.' }),
  line: z.int().min(1).meta({ description: 'Where, counted from 1.' }),
  column: z.int().min(1).meta({ description: 'Where, counted from 1.' }),
  object: z
    .strictObject({ kind: z.string(), namespace: z.string(), name: z.string() })
    .nullable()
    .meta({ description: 'The object concerned; null where none can be read.' }),
  field: z.string().meta({ description: 'Path of the field; empty where it is about the whole.' }),
});
export type Finding = z.output<typeof finding>;
export type Severity = Finding['severity'];

export const checkReport = z.strictObject({
  findings: z.array(finding).meta({ description: 'In the order of the files, then of their lines.' }),
  unchecked: z.array(z.string()).meta({ description: 'What could not be checked, because it is not among the files.' }),
  counts: z.strictObject({
    files: z.int(),
    checked: z.int().meta({ description: 'Objects of Breakwater.' }),
    considered: z.int().meta({ description: 'Services, workloads and others that the check looks at.' }),
    passedOver: z.int().meta({ description: 'Objects of kinds that do not concern it.' }),
    errors: z.int(),
    warnings: z.int(),
    notes: z.int(),
  }),
});
export type CheckReport = z.output<typeof checkReport>;
