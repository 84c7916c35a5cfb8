// Documentation that can rot is a test: tables are those of the code, code blocks are valid, commands and links exist, and the tutorial is
// gone through. UPDATE_GOLDEN=1 writes the tables anew.
import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { type Counter, Registry } from 'prom-client';
import { describe, expect, it } from 'vitest';
import { PROBLEMS } from '../operator/compile/problem.ts';
import { createDistributorMetrics } from '../operator/distribute/metrics.ts';
import { SETTINGS } from '../operator/inject/settings.ts';
import { createInjectionMetrics } from '../operator/inject/webhook.ts';
import { createOperatorMetrics } from '../operator/metrics.ts';
import { LOCAL_ANSWERS } from '../sidecar/errors.ts';
import { createSidecarMetrics, SIDECAR_METRICS } from '../sidecar/metrics.ts';
import { createSubscribeMetrics } from '../sidecar/subscribe/metrics.ts';
import { compileManifests, manifestsOf, readText, root, schemaProblems } from './examples.ts';
import { call, Standalone, until } from './standalone/harness.ts';

const pages = [
  ...readdirSync(root).filter((name) => name.endsWith('.md')),
  ...readdirSync(join(root, 'docs'), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.md'))
    .map((name) => join('docs', name)),
].sort();

const table = (head: readonly string[], rows: readonly (readonly string[])[]): string =>
  [head, head.map(() => '---'), ...rows]
    .map((row) => `| ${row.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`)
    .join('\n');

/** Compares what stands between the two marks with what the code says; or writes it there. */
function expectGenerated(page: string, mark: string, expected: string): void {
  const text = readText(page);
  const [begin, end] = [`<!-- generated: ${mark} -->`, '<!-- /generated -->'];
  const from = text.indexOf(begin) + begin.length;
  const to = text.indexOf(end, from);
  expect(text, `${page} has the marks of ${mark}`).toContain(begin);
  expect(to).toBeGreaterThan(from);
  if (process.env['UPDATE_GOLDEN'] === '1') {
    writeFileSync(join(root, page), `${text.slice(0, from)}\n${expected}\n${text.slice(to)}`);
    return;
  }
  expect(text.slice(from, to).trim(), `${page} is not up to date: UPDATE_GOLDEN=1 npm test -- test/docs`).toBe(
    expected,
  );
}

interface Row {
  name: string;
  type: string;
  labels: readonly string[];
  help: string;
}

async function metricsOf(registry: Registry, pass: (name: string) => boolean = () => true): Promise<Row[]> {
  const known = new Map<string, readonly string[]>(
    Object.values(SIDECAR_METRICS).map(({ name, labels }) => [name, labels]),
  );
  return (await registry.getMetricsAsJSON())
    .filter(({ name }) => pass(name))
    .map(({ name, type, help }) => {
      const { labelNames } = registry.getSingleMetric(name) as unknown as Counter & { labelNames?: string[] };
      return { name, type: String(type), help, labels: known.get(name) ?? labelNames ?? [] };
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
    const rows = Object.values(LOCAL_ANSWERS).map(({ code, status, title, detail, closes }) => [
      `\`${code}\``,
      `${status}${closes ? ', closes' : ''}`,
      title,
      detail,
    ]);
    expectGenerated(
      'docs/errors.md',
      'answers',
      table(['breakwater-reason', 'answer', 'what happened', 'what to look at'], rows),
    );
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

  it('metrics of the sidecar', async () => {
    const { registry } = createSidecarMetrics();
    createSubscribeMetrics(registry, () => 0);
    expectGenerated('docs/metrics.md', 'sidecar', metricTable(await metricsOf(registry)));
  });

  it('metrics of the operator', async () => {
    const { registry } = createOperatorMetrics();
    createDistributorMetrics(registry);
    createInjectionMetrics(registry);
    const own = (name: string) => !/^(process|nodejs)_/.test(name);
    expectGenerated('docs/metrics.md', 'operator', metricTable(await metricsOf(registry, own)));
  });
});

interface Block {
  page: string;
  language: string;
  text: string;
}

const blocks: Block[] = pages.flatMap((page) =>
  [...readText(page).matchAll(/^```(\w*)\n(.*?)^```$/gms)].map(([, language = '', text = '']) => ({
    page,
    language,
    text,
  })),
);
const blocksOf = (language: string) =>
  blocks.filter((block) => block.language === language).map((block) => [block.page, block.text] as const);

describe('the code blocks', () => {
  it('say what language they are in', () => {
    expect(blocks.length).toBeGreaterThan(20);
    expect([...new Set(blocks.map(({ language }) => language))].sort()).toEqual([
      'http',
      'js',
      'json',
      'sh',
      'text',
      'yaml',
    ]);
  });

  it.each(blocksOf('yaml'))('yaml in %s is valid and compiles', (_, text) => {
    const manifests = manifestsOf(text);
    expect(schemaProblems(manifests)).toEqual([]);
    const { problems } = compileManifests([...manifestsOf(readText('examples/shop.yaml')), ...manifests]);
    const allowed = new Set(['ServiceNotFound']);
    expect(problems.filter(({ severity, reason }) => severity === 'Error' && !allowed.has(reason))).toEqual([]);
  });

  it.each(blocksOf('json'))('json in %s is JSON', (_, text) => {
    for (const line of text.trim().split('\n')) expect(() => JSON.parse(line) as unknown).not.toThrow();
  });

  const { scripts } = JSON.parse(readText('package.json')) as { scripts: Record<string, string> };
  const npmWords = new Set(['ci', 'test', 'install']);
  it.each(blocksOf('sh'))('commands in %s exist', (_, text) => {
    for (const line of text.trim().split('\n')) {
      const [program = '', first = '', second = ''] = line.split(/\s+/);
      if (/^\w+=/.test(program)) continue;
      expect(['npm', 'npx', 'kubectl', 'helm', 'docker', 'curl', 'for']).toContain(program);
      if (program === 'npm')
        expect(first === 'run' ? Object.keys(scripts) : [...npmWords]).toContain(first === 'run' ? second : first);
      if (program === 'npx') expect([first, second]).toEqual(['breakwater', 'standalone']);
      for (const [path] of line.matchAll(/(?<![\w/])(examples|charts)\/[\w./-]+/g))
        expect(existsSync(join(root, path)), path).toBe(true);
      for (const [, path = ''] of line.matchAll(/-f (Dockerfile\.\w+)/g))
        expect(existsSync(join(root, path)), path).toBe(true);
    }
  });
});

describe('what the pages refer to', () => {
  it.each(pages)('in %s exists', (page) => {
    const text = readText(page).replaceAll(/^```.*?^```$/gms, '');
    for (const [, target = ''] of text.matchAll(/\]\(([^)#\s]+)[^)]*\)/g)) {
      if (!/^https?:/.test(target)) expect(existsSync(join(root, dirname(page), target)), target).toBe(true);
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

describe('the tutorial', () => {
  it('holds, step by step', async () => {
    const source = blocksOf('js').find(([page]) => page === 'docs/tutorial.md')?.[1] ?? '';
    const folder = mkdtempSync(join(tmpdir(), 'breakwater-test-tutorial-'));
    // The same, at a port that is free here.
    const script = join(folder, 'payments.mjs');
    const anywhere = "listen(0, '127.0.0.1', function () { console.log(this.address().port); })";
    expect(source).toContain("listen(9001, '127.0.0.1')");
    writeFileSync(script, source.replace("listen(9001, '127.0.0.1')", anywhere));
    const payments = spawn(process.execPath, [script], { stdio: ['ignore', 'pipe', 'inherit'] });
    let seen = '';
    payments.stdout.on('data', (chunk: Buffer) => {
      seen += chunk.toString();
    });
    let standalone: Standalone | undefined;
    try {
      await until(() => seen.includes('\n'), 'payments listens');
      const port = seen.trim();
      const files = Object.fromEntries(
        readdirSync(join(root, 'examples/standalone')).map((name) => [
          name,
          readText(`examples/standalone/${name}`).replace('port: 9001', `port: ${port}`),
        ]),
      );
      standalone = new Standalone(files);
      const { workloads } = await standalone.ready();
      const address = workloads['shop/checkout']?.dependencies['payments'];
      expect(await call(address, '/charges')).toMatchObject({ status: 200, body: 'paid\n' });

      await call(`127.0.0.1:${port}`, '/break');
      const statuses: number[] = [];
      for (let i = 0; i < 6; i++) statuses.push((await call(address, '/charges')).status);
      expect(statuses).toEqual([500, 500, 500, 500, 500, 503]);
      const openedMs = performance.now();
      const before = seen;
      expect(await call(address, '/charges')).toMatchObject({
        status: 503,
        headers: {
          'breakwater-reason': 'circuit-open',
          'content-type': 'application/problem+json',
          'retry-after': expect.stringMatching(/^(9|10|11)$/) as string,
        },
      });
      expect(seen).toBe(before);
      const metrics = await (await fetch(`${workloads['shop/checkout']?.admin}/metrics`)).text();
      expect(metrics).toMatch(/breakwater_circuit_state\{[^}]*state="Open"\} 1/i);

      standalone.write('policy.yaml', (files['policy.yaml'] ?? '').replace('openFor: 10s}', 'openFor: 10s'));
      await until(() => standalone?.errors.includes('policy.yaml:') ?? false, 'the file is named');
      await call(`127.0.0.1:${port}`, '/mend');
      await until(async () => (await call(address, '/charges')).status === 200, 'a probe comes through');
      expect((await call(address, '/charges')).status).toBe(200);
      expect(performance.now() - openedMs).toBeGreaterThan(9_000);
      const after = await (await fetch(`${workloads['shop/checkout']?.admin}/metrics`)).text();
      expect(after).toMatch(/breakwater_circuit_state\{[^}]*state="Closed"\} 1/i);
    } finally {
      payments.kill();
      await standalone?.cleanUp();
      rmSync(folder, { recursive: true });
    }
  }, 120_000);
});
