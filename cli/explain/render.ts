// An explanation as text for people. Pure.
import { quoted } from '../../runtime/printable.ts';
import { indented, printable, table, wrap } from '../output/layout.ts';
import type { Reader } from '../output/paint.ts';
import type {
  BlockExplanation,
  DependencyExplanation,
  Explanation,
  FieldExplanation,
  ProblemExplanation,
} from './explanation.ts';

export function renderExplanation(explanation: Explanation, reader: Reader): string[] {
  const { workload, dependencies, problems, assumptions } = explanation;
  const lines: string[] = [];
  for (const [index, dependency] of dependencies.entries()) {
    if (index > 0) lines.push('');
    lines.push(...renderDependency(dependency, explanation, reader));
  }
  if (problems.length > 0) {
    const { kind, namespace, name } = workload;
    lines.push(
      '',
      reader.paint('bold', `of ${kind} ${namespace}/${name} as a whole`),
      ...renderProblems(problems, reader),
    );
  }
  if (assumptions.length > 0)
    lines.push('', ...assumptions.flatMap((one) => indented(`assumed: ${one}`, 0, reader.columns)));
  return lines;
}

function renderDependency(
  dependency: DependencyExplanation,
  { workload, request }: Explanation,
  reader: Reader,
): string[] {
  const { paint, columns } = reader;
  const { name, calls, protocol, policies, blocks, onOpaque, rules, rule, problems, switchedOffBy, isDeclared } =
    dependency;
  const caller = `${workload.kind} ${workload.namespace}/${workload.name}`;
  const heading = `${caller} calls ${name}: ${calls}${protocol === null ? '' : `, ${PROTOCOLS[protocol]}`}`;
  const lines = wrap(heading, columns).map((line) => paint('bold', line));
  if (!isDeclared) lines.push('  its calls pass untouched; no policy acts on them');
  if (switchedOffBy.length > 0) {
    const text = `policies are SWITCHED OFF by the annotation breakwater.dev/enforcement on ${switchedOffBy.join(' and ')}: connections pass untouched`;
    lines.push(...indented(text, 2, columns).map((line) => paint('red', line)));
  }
  if (isDeclared) {
    lines.push(...renderPolicies(policies, request !== null, reader));
    if (request === null) lines.push(...renderRules(rules, reader));
    const subject =
      request === null
        ? rules.length > 0
          ? 'requests that match no rule'
          : 'every request'
        : `${request.method} ${request.path}${request.headers.map(({ name, value }) => `, ${name}: ${value}`).join('')} (rule ${rule})`;
    lines.push(
      '',
      paint('bold', printable(subject)),
      ...renderBlocks(blocks, reader),
      ...renderOpaque(onOpaque, reader),
    );
  }
  if (problems.length > 0)
    lines.push('', paint('bold', 'what has no effect, and what else to know'), ...renderProblems(problems, reader));
  return lines;
}

const PROTOCOLS = {
  Http: 'HTTP by its port',
  Opaque: 'opaque by its port',
  Detect: 'protocol by its first bytes',
} as const;

function renderPolicies(
  policies: DependencyExplanation['policies'],
  hasRequest: boolean,
  { columns }: Reader,
): string[] {
  if (policies.length === 0) return ['  no policy acts on it'];
  const title = policies.length === 1 ? '  policy in force' : '  policies in force, a later one over an earlier one';
  return [
    title,
    ...policies.flatMap(({ namespace, name, generation, target, rule }) => {
      const match = !hasRequest ? '' : rule === null ? ': no rule matches' : `: rule ${rule} matches`;
      return [
        ...indented(`ResiliencePolicy ${namespace}/${name} generation ${generation}`, 4, columns),
        ...indented(`on ${target}${match}`, 6, columns),
      ];
    }),
  ];
}

function renderRules(rules: DependencyExplanation['rules'], { paint, columns }: Reader): string[] {
  if (rules.length === 0) return [];
  const rows = rules.map(({ policy, name, matches, changes }) => [
    name,
    `${policy.namespace}/${policy.name}`,
    [
      matches.join(', or '),
      changes.length === 0
        ? 'changes nothing'
        : changes.map(({ field, value }) => `${field} ${shown(value).join(', ')}`).join('; '),
    ],
  ]);
  return [
    '',
    paint('bold', 'rules (of each policy the first that matches counts)'),
    ...table(rows, { indent: 2, columns }),
  ];
}

function renderBlocks(blocks: readonly BlockExplanation[], reader: Reader): string[] {
  const rows = blocks.map(rowsOf);
  const shadows = blocks.map(({ block, shadow }) => (shadow === null ? [] : fieldRows(block, shadow.fields)));
  const widths = [0, 1].map((column) =>
    Math.max(0, ...[rows, shadows].flat(2).flatMap((row) => [row[column] ?? ''].flat().map((line) => line.length))),
  );
  return blocks.flatMap((block, index) => [
    ...renderBlock(block, rows[index] ?? [], widths, reader),
    ...renderShadow(block, shadows[index] ?? [], widths, reader),
  ]);
}

/** Where the bytes decide, and there is something that they would decide about. */
function renderOpaque(onOpaque: DependencyExplanation['onOpaque'], { columns }: Reader): string[] {
  if (onOpaque === null || onOpaque.acting.length + onOpaque.idle.length === 0) return [];
  const { acting, idle } = onOpaque;
  const without = idle.length === 0 ? '' : `; ${idle.join(', ')} ${idle.length === 1 ? 'does' : 'do'} nothing there`;
  const acts =
    acting.length === 0 ? 'none of these acts' : `${acting.join(', ')} ${acting.length === 1 ? 'acts' : 'act'}`;
  return [
    '',
    ...indented(
      `on connections that turn out not to be HTTP (TLS, a server that speaks first): ${acts}${without}`,
      2,
      columns,
    ),
  ];
}

type Row = readonly (string | readonly string[])[];

function renderBlock(
  { block, state, disabledBy, shadow }: BlockExplanation,
  rows: readonly Row[],
  widths: readonly number[],
  { paint, columns }: Reader,
): string[] {
  const by = disabledBy === null ? '' : ` by ${describeWritten(disabledBy)}: ${disabledBy.field} is Disabled`;
  const note = {
    Enforced: '',
    Disabled: `: switched off${by}`,
    NotSet: shadow === null ? `: ${UNSET[block]}` : ': not enforced',
    NotEnforceable: ': not enforceable on an opaque connection',
    SwitchedOff: ': switched off with all policies',
  }[state];
  const lines = indented(`${block}${note}`, 2, columns);
  const values = table(rows, { indent: 4, columns, widths });
  return [
    ...lines.map((line) => (state === 'Disabled' ? paint('yellow', line) : line)),
    ...values.map((line) => (line.endsWith(' default') ? paint('dim', line) : line)),
  ];
}

function renderShadow(
  { block, shadow }: BlockExplanation,
  rows: readonly Row[],
  widths: readonly number[],
  { paint, columns }: Reader,
): string[] {
  if (shadow === null) return [];
  const by = shadow.by.map(describeWritten).join(', ');
  return [
    ...indented(`${block} in shadow by ${by}: only counted, no request feels it`, 2, columns),
    ...table(rows, { indent: 4, columns, widths }),
  ].map((line) => paint('dim', line));
}

/** Where no policy sets timeouts, connecting is bounded all the same. */
function rowsOf({ block, state, fields }: BlockExplanation): Row[] {
  return fieldRows(
    block,
    fields.filter(({ value }) => state === 'Enforced' || value !== '0s'),
  );
}

function fieldRows(block: BlockExplanation['block'], fields: readonly FieldExplanation[]): Row[] {
  return fields.map((field) => [
    labelOf(field),
    shown(field.value, block),
    [describeOrigin(field, block), ...describeOverruled(field)],
  ]);
}

const UNSET: Record<BlockExplanation['block'], string> = {
  timeouts: 'no policy sets them, so only connecting is bounded',
  retries: 'no policy sets them, so only what was never sent is tried once more',
  circuitBreaker: 'no policy sets one',
  outlierDetection: 'no policy sets it',
  bulkhead: 'no policy sets one',
  rateLimit: 'no policy sets one',
  fallback: 'no policy sets one',
  faultInjection: 'no policy sets any',
  loadBalancing: 'no policy sets it, so each request goes to the cheaper of two endpoints, by latency and failures',
  healthCheck: 'no policy sets one',
  hedging: 'no policy sets it, so no request is sent twice at a time',
};

/** What needs no quotes. */
const PLAIN = /^[!#-~]{1,64}$/;

const labelOf = ({ field, aspect }: FieldExplanation) => (aspect === 'opaque TCP' ? `${field} (opaque)` : field);

function shown(value: FieldExplanation['value'], block?: BlockExplanation['block']): string[] {
  if (value === null) return ['off'];
  if (Array.isArray(value)) return value.length === 0 ? ['nothing'] : value.map(String);
  if (value === '0s' && block === 'timeouts') return ['none'];
  const text = typeof value === 'object' ? JSON.stringify(value) : String(value);
  return [PLAIN.test(text) ? text : quoted(text, 64)];
}

function describeOrigin({ origin, follows, partOf }: FieldExplanation, block: string): string {
  if (origin === 'default' && partOf !== null) return `default, switched on by ${describeWritten(partOf)}`;
  const as = follows === null ? '' : `as ${follows.replace(`${block}.`, '')}, `;
  return as + (origin === 'default' ? 'default' : describeWritten(origin));
}

function describeOverruled({ overruled }: FieldExplanation): string[] {
  return overruled.map(
    (one) => `over ${shown(one.value as FieldExplanation['value']).join(', ')} of ${describeWritten(one)}`,
  );
}

const describeWritten = ({ namespace, name, rule }: { namespace: string; name: string; rule: string | null }): string =>
  `${namespace}/${name}${rule === null ? '' : ` rule ${rule}`}`;

function renderProblems(problems: readonly ProblemExplanation[], { paint, columns }: Reader): string[] {
  return problems.flatMap(({ severity, reason, message, object, field }) => {
    const head = `${object.kind} ${object.namespace}/${object.name}${field === '' ? '' : ` ${field}`}`;
    const style = severity === 'Error' ? 'red' : 'yellow';
    return [`  ${paint(style, reason)} ${printable(head)}`, ...indented(message, 4, columns)];
  });
}
