// What the operator and the injected containers may do, as tables: from the chart, and from the golden patch of a Deployment's pod.
import { parse, parseAllDocuments } from 'yaml';
import { readText } from '../examples.ts';
import { table } from '../generated.ts';

interface Rule {
  apiGroups: string[];
  resources: string[];
  verbs: string[];
  resourceNames?: string[];
}

interface SecurityContext {
  runAsUser: number;
  runAsNonRoot: boolean;
  allowPrivilegeEscalation: boolean;
  readOnlyRootFilesystem: boolean;
  capabilities: { drop: string[]; add?: string[] };
  seccompProfile: { type: string };
}

/** By name of the helper: `breakwater.webhookName` is "%s-injector" of the chart's own name. */
function chartNames(): ReadonlyMap<string, string> {
  const helpers = readText('charts/breakwater/templates/_helpers.tpl');
  const names = helpers.matchAll(
    /define "breakwater\.(\w+)" -\}\}\n\{\{- printf "%s(-[a-z]+)" \(include "breakwater\.name" \.\)/g,
  );
  return new Map([
    ['name', 'breakwater'],
    ...Array.from(names, ([, name = '', suffix]) => [name, `breakwater${suffix}`] as const),
  ]);
}

/** Objects as they are with the chart's own names; lines that are nothing but a template are left out, and other values say so. */
function withoutTemplates(text: string): string {
  const names = chartNames();
  return text
    .replaceAll(/^ *\{\{-.*\}\}\n/gm, '')
    .replaceAll(/\{\{ include "breakwater\.(\w+)" \. \}\}/g, (whole, name: string) => {
      const value = names.get(name);
      if (value === undefined) throw new Error(`the chart has no name for ${whole}`);
      return value;
    })
    .replaceAll(/\{\{ .*? \}\}/g, 'value');
}

const code = (items: readonly string[]) => items.map((item) => `\`${item}\``).join(', ');

/** As kubectl writes it: `servicedependencies.breakwater.dev/status`. */
function inGroup(resource: string, group = ''): string {
  return group === '' ? resource : resource.replace(/^[^/]+/, (kind) => `${kind}.${group}`);
}

/** Of the two roles that are bound to the operator. */
export function permissionsTable(): string {
  const documents = parseAllDocuments(withoutTemplates(readText('charts/breakwater/templates/rbac.yaml'))).map(
    (document) => document.toJS() as { kind: string; metadata: { name: string }; rules?: Rule[] },
  );
  const rows = documents
    .filter(({ kind, metadata }) => /^(Cluster)?Role$/.test(kind) && metadata.name === 'breakwater-operator')
    .flatMap(({ kind, rules = [] }) =>
      rules.map(({ apiGroups, resources, verbs, resourceNames }) => [
        kind === 'ClusterRole' ? 'cluster' : 'its own namespace',
        code(resources.map((resource) => inGroup(resource, apiGroups[0]))),
        code(verbs),
        resourceNames ? `only ${code(resourceNames)}` : '',
      ]),
    );
  return table(['where', 'resources', 'verbs', 'which'], rows);
}

function row(name: string, where: string, context: SecurityContext): string[] {
  const { add = [], drop } = context.capabilities;
  return [
    `\`${name}\``,
    where,
    `${context.runAsUser}`,
    `drops ${drop.join(', ')}${add.length > 0 ? `, adds ${add.join(', ')}` : ''}`,
    context.readOnlyRootFilesystem ? 'read-only' : 'writable',
    context.allowPrivilegeEscalation ? 'allowed' : 'no',
    context.seccompProfile.type,
  ];
}

/** The mapping below the nth `securityContext:` of the operator's Deployment. */
function operatorContexts(): Partial<SecurityContext>[] {
  const text = readText('charts/breakwater/templates/deployment.yaml');
  return [...text.matchAll(/^( +)securityContext:\n((?:\1 {2}.*\n)+)/gm)].map(
    ([, , block = '']) => parse(block) as Partial<SecurityContext>,
  );
}

/** Of the containers that are injected into the pod of a Deployment, by name. */
function injectedContexts(): ReadonlyMap<string, SecurityContext> {
  const { patch } = parse(readText('operator/inject/testdata/deployment.patch.yaml')) as {
    patch: { path: string; value: { name: string; securityContext: SecurityContext }[] }[];
  };
  const containers = patch.find(({ path }) => path === '/spec/initContainers')?.value ?? [];
  return new Map(containers.map(({ name, securityContext }) => [name, securityContext]));
}

const WHERE: Readonly<Record<string, string>> = {
  'breakwater-capture': 'pods under capture `iptables`, until it has ended',
  breakwater: 'injected pods',
};

export function containersTable(): string {
  const injected = Array.from(injectedContexts(), ([name, context]) => row(name, WHERE[name] ?? '', context));
  const operator = Object.assign({}, ...operatorContexts()) as SecurityContext;
  return table(
    ['container', 'in', 'user', 'capabilities', 'root filesystem', 'privilege escalation', 'seccomp'],
    [row('operator', "the operator's pods", operator), ...injected],
  );
}
