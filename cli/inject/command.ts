// `breakwater inject`: manifests in, manifests with sidecars out; what became of each workload on standard error.
import { X509Certificate } from 'node:crypto';
import { parse as parseYaml } from 'yaml';
import type { World, WorldService } from '../../operator/compile/world.ts';
import { keyOf } from '../../operator/compile/world-index.ts';
import { Declarations } from '../../operator/inject/declared.ts';
import { systemClock } from '../../runtime/clock.ts';
import { check } from '../check/check.ts';
import { renderFinding } from '../check/render.ts';
import type { Finding } from '../check/report.ts';
import { Cluster, type ClusterOptions } from '../cluster/connect.ts';
import { readSources, type SourceText } from '../manifests/files.ts';
import { serviceReferences } from '../manifests/world.ts';
import { indented } from '../output/layout.ts';
import { type Reader, readerOf, type Style } from '../output/paint.ts';
import type { Streams } from '../output/streams.ts';
import { UsageError } from '../usage-error.ts';
import { installationFromCluster, readNamespaces, readServices } from './from-cluster.ts';
import { type InjectContext, type InjectNote, injectText } from './inject.ts';
import { DEFAULT_OPERATOR_URL, type Installation, installationFromValues } from './installation.ts';

export interface InjectCommandOptions extends ClusterOptions {
  caBundleFile?: string;
  values?: string;
  operatorUrl?: string;
  strict?: boolean;
}

type Known = Pick<World, 'namespaces' | 'serviceDependencies' | 'services'>;

/** Resolves to the exit code. Throws UsageError. */
export async function runInject(
  paths: readonly string[],
  options: InjectCommandOptions,
  streams: Streams,
): Promise<number> {
  const sources = await readSources(paths, streams.stdin);
  const reader = readerOf(streams.stderr);
  const { installation, namespace, known } = await learn(sources, options, streams);
  const wrong = problemsOf(sources, namespace);
  if (wrong.length > 0) {
    streams.stderr.write(`${wrong.flatMap((finding) => renderFinding(finding, reader)).join('\n')}\n`);
    return 1;
  }
  const context = contextOf(installation, namespace, known);
  const results = sources.map(({ text }) => injectText(text, context));
  const notes = results.flatMap((result) => result.notes);
  for (const note of notes) streams.stderr.write(`${renderNote(note, reader).join('\n')}\n`);
  if (options.caBundleFile !== undefined && notes.some(({ message }) => message.includes('(NotThere)'))) {
    streams.stderr.write(`${OFFLINE_HINT}\n`);
  }
  if (notes.some(({ what }) => what === 'injected')) streams.stderr.write(`${expiryNote(installation.caBundle)}\n`);
  if (options.strict === true && notes.some(({ isQuiet }) => !isQuiet)) {
    streams.stderr.write('nothing is printed: with --strict every workload must be injected as it is\n');
    return 1;
  }
  streams.stdout.write(joined(results.map(({ text }) => text)));
  return 0;
}

const OFFLINE_HINT =
  'without a cluster Services are known only where they are among the files, and with their clusterIP; leave out --ca-bundle-file to read them from the cluster';

interface Learnt {
  installation: Installation;
  namespace: string;
  known: Known;
}

/** From the files alone where a CA bundle is given, else from the cluster too. */
async function learn(sources: readonly SourceText[], options: InjectCommandOptions, streams: Streams): Promise<Learnt> {
  const { caBundleFile, values, operatorUrl } = options;
  if (caBundleFile !== undefined) {
    const namespace = options.namespace ?? 'default';
    const [bundle, written] = await Promise.all([
      readOne(caBundleFile, streams),
      values === undefined ? undefined : readOne(values, streams),
    ]);
    const installation = installationFromValues(
      written === undefined ? undefined : parsed(written),
      operatorUrl ?? DEFAULT_OPERATOR_URL,
      bundle.text,
    );
    certificatesOf(installation.caBundle, caBundleFile);
    return { installation, namespace, known: check(sources, { namespace }).manifests.world };
  }
  if (values !== undefined || operatorUrl !== undefined) {
    throw new UsageError(
      '--values and --operator-url are for injecting without a cluster, which also needs --ca-bundle-file: sidecars must know the operator by its certificate; leave them out to read all of it from the cluster',
    );
  }
  const cluster = new Cluster(options);
  try {
    return await learnFromCluster(sources, cluster);
  } finally {
    await cluster.close();
  }
}

async function learnFromCluster(sources: readonly SourceText[], cluster: Cluster): Promise<Learnt> {
  const { namespace } = cluster;
  const { world, templates } = check(sources, { namespace }).manifests;
  const installation = await installationFromCluster(cluster);
  const namespaces = [...new Set(templates.map((template) => template.namespace))];
  const [there, services] = await Promise.all([
    readNamespaces(cluster, namespaces),
    readServices(cluster, serviceReferences(world.serviceDependencies)),
  ]);
  const named = new Set(world.serviceDependencies.map(({ metadata }) => keyOf(metadata)));
  return {
    installation,
    namespace,
    known: {
      // The files will be applied, and hold then.
      namespaces: [...there.namespaces, ...world.namespaces],
      serviceDependencies: [
        ...there.serviceDependencies.filter(({ metadata }) => !named.has(keyOf(metadata))),
        ...world.serviceDependencies,
      ],
      // But the ClusterIP of a Service is known to the cluster alone.
      services: [...world.services, ...there.services, ...services],
    },
  };
}

function contextOf(
  installation: Installation,
  namespace: string,
  { namespaces, serviceDependencies, services }: Known,
): InjectContext {
  const byName = new Map(namespaces.map((one) => [one.name, one]));
  const byKey = new Map<string, WorldService>(services.map((service) => [keyOf(service), service]));
  const declarations = new Declarations({
    serviceDependencies: () => serviceDependencies,
    service: (of, name) => byKey.get(keyOf({ namespace: of, name })),
  });
  return {
    installation,
    namespace,
    namespaceOf: (name) => byName.get(name) ?? { labels: {}, annotations: {} },
    declared: (of, labels) => declarations.of(of, labels),
  };
}

const READABLE: ReadonlySet<string> = new Set(['NotYaml', 'DuplicateKey', 'NoObject']);

/** What cannot be read cannot be printed again; everything else is for the API server to judge. */
function problemsOf(sources: readonly SourceText[], namespace: string): Finding[] {
  return check(sources, { namespace }).report.findings.filter(({ reason }) => READABLE.has(reason));
}

async function readOne(file: string, { stdin }: Streams): Promise<SourceText> {
  const [source] = await readSources([file], stdin);
  if (source === undefined) throw new UsageError(`${file} cannot be read`);
  return source;
}

function parsed({ file, text }: SourceText): unknown {
  try {
    return parseYaml(text, { logLevel: 'error' });
  } catch (error) {
    throw new UsageError(`${file} cannot be read as YAML: ${(error as Error).message}`);
  }
}

/** Throws UsageError where there is none: a sidecar would trust nobody. */
function certificatesOf(pem: string, file: string): X509Certificate[] {
  const blocks = pem.match(/-----BEGIN CERTIFICATE-----[\s\S]+?-----END CERTIFICATE-----/g) ?? [];
  try {
    if (blocks.length > 0) return blocks.map((block) => new X509Certificate(block));
  } catch {
    // Told below.
  }
  throw new UsageError(
    `${file} holds no certificate in PEM; take the CA bundle of the operator: kubectl get mutatingwebhookconfiguration breakwater-injector -o jsonpath='{.webhooks[0].clientConfig.caBundle}' | base64 -d`,
  );
}

/** Injected by the webhook a pod has the bundle of its day; a file keeps that of today. */
function expiryNote(pem: string): string {
  const last = Math.max(...certificatesOf(pem, 'the CA bundle').map(({ validTo }) => Date.parse(validTo)));
  const days = Math.floor((last - systemClock.unixMs()) / 86_400_000);
  if (days < 0)
    throw new UsageError('the CA bundle has expired, and sidecars would trust no operator: take the present one');
  return `the authority of the operator in these manifests is valid for ${days} days: inject the originals again before`;
}

const STYLES: Record<InjectNote['what'], Style> = { injected: 'green', skipped: 'yellow', lacking: 'yellow' };

function renderNote({ object, what, message, isQuiet }: InjectNote, { paint, columns }: Reader): string[] {
  const style = isQuiet && what === 'skipped' ? 'dim' : STYLES[what];
  const [first = '', ...more] = indented(`${object} ${what === 'injected' ? '' : `${what}: `}${message}`, 0, columns);
  return [first.replace(object, paint(style, object)), ...more.map((line) => `  ${line}`)];
}

/** Files one after another, as one stream of documents. */
function joined(texts: readonly string[]): string {
  return texts.reduce((all, text) => {
    if (all === '') return text;
    const end = all.endsWith('\n') ? '' : '\n';
    return `${all}${end}${text.startsWith('---') ? '' : '---\n'}${text}`;
  }, '');
}
