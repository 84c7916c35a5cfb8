// Documentation that can rot is a test: tables are those of the code, every block is of a kind that is tested, and links lead somewhere.
// UPDATE_GOLDEN=1 writes the tables anew. What pages tell to do is done by docs/read-through.test.ts and cluster/docs.test.ts.
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { type Counter, Registry } from 'prom-client';
import { describe, expect, it } from 'vitest';
import { checkReport } from '../cli/check/report.ts';
import { explanation } from '../cli/explain/explanation.ts';
import { createProgram } from '../cli/program.ts';
import { commandReference, jsonReference } from '../cli/reference.ts';
import { PROBLEMS } from '../operator/compile/problem.ts';
import { createDistributorMetrics } from '../operator/distribute/metrics.ts';
import { CHANGES } from '../operator/inject/changes.ts';
import { SETTINGS } from '../operator/inject/settings.ts';
import { createInjectionMetrics } from '../operator/inject/webhook.ts';
import { createOperatorMetrics } from '../operator/metrics.ts';
import { LOCAL_ANSWERS } from '../sidecar/errors.ts';
import { createSidecarMetrics } from '../sidecar/metrics/sidecar-metrics.ts';
import { createSubscribeMetrics } from '../sidecar/subscribe/metrics.ts';
import { sentenceOf, TLS_FAILURES } from '../sidecar/tls/failures.ts';
import { EXEMPTIONS, exemptionOf, kindOf } from './docs/kinds.ts';
import { allBlocks, pages, whereIs } from './docs/pages.ts';
import { containersTable, permissionsTable } from './docs/privileges.ts';
import { compileManifests, manifestsOf, readText, root, schemaProblems } from './examples.ts';
import { expectGenerated, table } from './generated.ts';

interface Row {
  name: string;
  type: string;
  labels: readonly string[];
  help: string;
}

async function metricsOf(registry: Registry, pass: (name: string) => boolean): Promise<Row[]> {
  return (await registry.getMetricsAsJSON())
    .filter(({ name }) => pass(name))
    .map(({ name, type, help }) => {
      const { labelNames } = registry.getSingleMetric(name) as unknown as Counter & { labelNames?: string[] };
      return { name, type: String(type), help, labels: labelNames ?? [] };
    })
    .sort((a, b) => (a.name < b.name ? -1 : 1));
}

const metricTable = (rows: readonly Row[]): string =>
  table(
    ['metric', 'type', 'labels', 'meaning'],
    rows.map(({ name, type, labels, help }) => [
      `\`${name}\``,
      type,
      labels.map((label) => `\`${label}\``).join(', '),
      help,
    ]),
  );

describe('the tables of the docs are those of the code', () => {
  it('answers of the sidecar', () => {
    const rows = Object.values(LOCAL_ANSWERS).map(({ code, status, grpcStatus, title, detail, closes }) => [
      `\`${code}\``,
      `${status}${closes ? ', closes' : ''}`,
      String(grpcStatus),
      title,
      detail,
    ]);
    expectGenerated(
      'docs/errors.md',
      'answers',
      table(['breakwater-reason', 'answer', 'to gRPC', 'what happened', 'what to look at'], rows),
    );
  });

  it('failures of TLS to hosts', () => {
    const rows = TLS_FAILURES.map((failure) => [`\`${failure}\``, sentenceOf(failure)]);
    expectGenerated('docs/tls.md', 'tls', table(['result', 'what happened, and what to do'], rows));
  });

  it('reasons of conditions', () => {
    // Every detail of a message is shown by its name.
    const names = new Proxy(
      {},
      { get: (_, name) => Object.assign(Object(`<${String(name)}>`), { join: () => `<${String(name)}>` }) as unknown },
    );
    const rows = Object.entries(PROBLEMS).map(([reason, { condition, severity, message }]) => [
      `\`${reason}\``,
      condition,
      severity,
      (message as (details: object) => string)(names).replaceAll('<', '‹').replaceAll('>', '›'),
    ]);
    expectGenerated('docs/errors.md', 'conditions', table(['reason', 'condition', 'severity', 'message'], rows));
  });

  it('reasons of pods without a sidecar', () => {
    const union = /export type SkipReason =([^;]*);/.exec(readText('operator/inject/decide.ts'))?.[1] ?? '';
    const known = [...union.matchAll(/'(\w+)'/g)].map(([, name]) => name);
    const section = readText('docs/errors.md').split('## Pods without a sidecar')[1] ?? '';
    expect([...section.matchAll(/^\| `(\w+)`/gm)].map(([, name]) => name)).toEqual(known);
  });

  it('annotations of a pod', () => {
    const rows = Object.values(SETTINGS).map(({ annotation, default: value, type, doc }) => [
      `\`${annotation}\``,
      value === '' ? '' : `\`${value}\``,
      type,
      doc,
    ]);
    expectGenerated('docs/operations.md', 'settings', table(['annotation', 'default', 'value', 'what it does'], rows));
  });

  it('what injection changes in a pod', () => {
    const rows = CHANGES.map(({ path, adds, capture, doc }) => [
      `\`${path}\``,
      adds.map((name) => `\`${name}\``).join(', '),
      capture.length === 3 ? 'every' : capture.join(', '),
      doc,
    ]);
    expectGenerated('docs/operations.md', 'changes', table(['in', 'added', 'capture', 'what it is'], rows));
  });

  it('permissions of the operator', () => {
    expectGenerated('docs/security.md', 'permissions', permissionsTable());
  });

  it('what containers may do', () => {
    expectGenerated('docs/security.md', 'containers', containersTable());
  });

  it('metrics of the sidecar', () => {
    const { registry } = createSidecarMetrics();
    createSubscribeMetrics(registry, () => 0);
    const rows = registry.getMetricsAsJSON().sort((a, b) => (a.name < b.name ? -1 : 1));
    expectGenerated('docs/metrics.md', 'sidecar', metricTable(rows));
  });

  it('commands, and what they print as JSON', () => {
    const program = createProgram('breakwater', process).command;
    expectGenerated('docs/cli.md', 'commands', commandReference(program, table));
    expectGenerated('docs/cli.md', 'check', jsonReference(checkReport, table));
    expectGenerated('docs/cli.md', 'explain', jsonReference(explanation, table));
  });

  it('metrics of the operator', async () => {
    const { registry } = createOperatorMetrics();
    createDistributorMetrics(registry);
    createInjectionMetrics(registry);
    const own = (name: string) => !/^(process|nodejs)_/.test(name);
    expectGenerated('docs/metrics.md', 'operator', metricTable(await metricsOf(registry, own)));
  });
});

const blocks = allBlocks();
const textsIn = (language: string) =>
  blocks.filter((block) => block.language === language).map((block) => [whereIs(block), block.text] as const);

describe('the code blocks', () => {
  it('are each executed, compared, validated, or exempt for a reason', () => {
    expect(blocks.length).toBeGreaterThan(40);
    const kinds = blocks.map((block) => kindOf(block, blocks));
    expect(new Set(kinds)).toEqual(new Set(['machine', 'cluster', 'output', 'file', 'manifest', 'exempt']));
    for (const exemption of EXEMPTIONS) {
      expect(exemption.reason.length).toBeGreaterThan(5);
      expect(
        blocks.some((block) => exemptionOf(block) === exemption),
        `${exemption.page}: ${exemption.begins}`,
      ).toBe(true);
    }
  });

  it('that go on in a terminal show what appears there', () => {
    const inTerminals = blocks.filter(({ mark }) => mark?.name === 'terminal');
    for (const { page, mark, language } of inTerminals) {
      if (language !== 'sh') continue;
      const outputs = inTerminals.filter((one) => one.page === page && one.mark?.value === mark?.value);
      expect(
        outputs.some((one) => one.language !== 'sh'),
        `${page}: output of terminal ${mark?.value}`,
      ).toBe(true);
    }
  });

  it.each(textsIn('yaml'))('yaml in %s is valid and compiles', (_, text) => {
    const manifests = manifestsOf(text);
    expect(schemaProblems(manifests)).toEqual([]);
    const { problems } = compileManifests([...manifestsOf(readText('examples/shop.yaml')), ...manifests]);
    // What a page shows is part of a cluster; all else would be a warning to whoever copies it.
    const allowed = new Set([
      'ServiceNotFound',
      'NoPodsSelected',
      'ActsOnNothing',
      'ActsOnDeclaredCallsOnly',
      'FaultsInjected',
    ]);
    expect(problems.filter(({ reason }) => !allowed.has(reason))).toEqual([]);
  });

  it('yaml in docs/concepts.md merges as its picture shows', () => {
    const text = blocks.find(
      ({ page, section }) => page === 'docs/concepts.md' && section === 'How policies merge',
    )?.text;
    const { workloads } = compileManifests([
      ...manifestsOf(readText('examples/shop.yaml')),
      ...manifestsOf(text ?? ''),
    ]);
    const dependency = workloads.flatMap(({ plan }) => plan.dependencies).find(({ name }) => name === 'payments');
    expect(dependency?.policies.find(({ rule }) => rule === 'base')).toMatchObject({
      timeouts: { requestMs: 2_000, attemptMs: 1_000, connectMs: 2_000 },
      circuitBreaker: { openForMs: 15_000, consecutiveFailures: 5, windowMs: 10_000 },
      retries: null,
    });
  });

  it.each(textsIn('json'))('json in %s is JSON', (_, text) => {
    const lines = text
      .trim()
      .split('\n')
      .filter((line) => line.trim() !== '...');
    for (const line of lines) expect(() => JSON.parse(line) as unknown).not.toThrow();
  });

  // Those that are executed exist anyhow.
  const { scripts } = JSON.parse(readText('package.json')) as { scripts: Record<string, string> };
  it.each(EXEMPTIONS)('$begins in $page names scripts that exist', ({ page, begins }) => {
    const text = blocks.find((block) => block.page === page && block.text.startsWith(begins))?.text ?? '';
    for (const [, script = ''] of text.matchAll(/^npm run (\S+)/gm)) expect(Object.keys(scripts)).toContain(script);
  });

  it('name the version of this tree', () => {
    const version = /^appVersion: (\S+)$/m.exec(readText('charts/breakwater/Chart.yaml'))?.[1];
    for (const { text } of blocks) {
      for (const [, tag] of text.matchAll(/breakwater\/(?:operator|sidecar):(\d\S+)/g)) expect(tag).toBe(version);
    }
  });
});

/** As GitHub names the headings of a page. */
const anchorsOf = (page: string): string[] =>
  [...readText(page).matchAll(/^#+ (.*)$/gm)].map(([, heading = '']) =>
    heading
      .toLowerCase()
      .replaceAll(/[^\p{L}\p{N} _-]/gu, '')
      .replaceAll(' ', '-'),
  );

describe('what the pages refer to', () => {
  it.each(pages)('in %s exists', (page) => {
    const text = readText(page).replaceAll(/^```.*?^```$/gms, '');
    for (const [, target = ''] of text.matchAll(/\]\(([^)#\s]+)[^)]*\)/g)) {
      if (!/^https?:/.test(target)) expect(existsSync(join(root, dirname(page), target)), target).toBe(true);
    }
    for (const [, target = '', anchor = ''] of text.matchAll(/\]\(([^)#\s]*)#([^)\s]+)\)/g)) {
      if (!/^https?:/.test(target)) {
        expect(anchorsOf(target === '' ? page : join(dirname(page), target)), `${target}#${anchor}`).toContain(anchor);
      }
    }
    const { scripts } = JSON.parse(readText('package.json')) as { scripts: Record<string, string> };
    for (const [, script = ''] of text.matchAll(/`npm run ([\w:]+)/g)) expect(Object.keys(scripts)).toContain(script);
    for (const [, path = ''] of text.matchAll(
      /`((?:crds|plan|runtime|operator|sidecar|cli|test|charts|examples|docs)\/[\w./-]*)`/g,
    )) {
      expect(existsSync(join(root, path)), path).toBe(true);
    }
  });
});
