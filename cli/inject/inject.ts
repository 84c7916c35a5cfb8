// Manifests with sidecars in them, as the webhook would add them to the pods of an installation. Pure. A pod that the webhook would leave
// alone is left alone, with its reason.
import { type Birth, birthOf } from '../../operator/inject/bootstrap.ts';
import { certificatesOf } from '../../operator/inject/certificates.ts';
import { decide, QUIET_REASONS, type SkipReason } from '../../operator/inject/decide.ts';
import type { Declared } from '../../operator/inject/declared.ts';
import { describeLeftOut } from '../../operator/inject/loopback.ts';
import { type AddOperation, patchFor } from '../../operator/inject/patch.ts';
import type { Pod, PodNamespace } from '../../operator/inject/pod.ts';
import { tooLarge } from '../../operator/inject/size.ts';
import { tlsHostsOf } from '../../operator/inject/tls-hosts.ts';
import { WORKLOAD_KINDS } from '../explain/target.ts';
import { podTemplateOf } from '../manifests/pod-template.ts';
import { editManifests } from './edit.ts';
import type { Installation } from './installation.ts';

export interface InjectContext {
  installation: Installation;
  /** Of objects that name none. */
  namespace: string;
  namespaceOf: (name: string) => PodNamespace;
  declared: (namespace: string, labels: Readonly<Record<string, string>>) => readonly Declared[];
}

/** Something that was said of one workload. */
export interface InjectNote {
  /** "Deployment shop/checkout" */
  object: string;
  /** injected; skipped: left as it is; lacking: injected, and something that is declared is not captured, or has no effect. */
  what: 'injected' | 'skipped' | 'lacking';
  /** Whether somebody asked for it, or it was so before. */
  isQuiet: boolean;
  message: string;
}

export interface Injected {
  text: string;
  notes: readonly InjectNote[];
}

export function injectText(text: string, context: InjectContext): Injected {
  const notes: InjectNote[] = [];
  const result = editManifests(text, (object) => injectObject(object, context, (note) => notes.push(note)));
  return { text: result, notes };
}

function injectObject(
  object: Record<string, unknown>,
  context: InjectContext,
  tell: (note: InjectNote) => void,
): readonly AddOperation[] {
  const template = podTemplateOf(object, context.namespace);
  if (template === undefined) return [];
  const name = `${template.kind} ${template.namespace}/${template.name}`;
  if (!isWorkload(object)) {
    const message = `its kind is not known here, so it is left as it is; the webhook injects its pods`;
    tell({ object: name, what: 'skipped', isQuiet: false, message });
    return [];
  }
  const prefix = template.path === '' ? '' : `/${template.path.replaceAll('.', '/')}`;
  const pod = podOf(object, template.path, template.namespace);
  const { patch, notes } = injectPod(pod, template.namespace, context);
  for (const note of notes) tell({ object: name, ...note });
  return patch.map((operation) => ({ ...operation, path: prefix + operation.path }));
}

function isWorkload({ apiVersion, kind }: Record<string, unknown>): boolean {
  return WORKLOAD_KINDS.some((one) => one.kind === kind && one.api.replace(/^apis?\//, '') === apiVersion);
}

/** The pod as the API server will have it when the webhook sees it: it fills in the service account. */
function podOf(object: Record<string, unknown>, path: string, namespace: string): Pod {
  let value: unknown = object;
  for (const part of path === '' ? [] : path.split('.')) value = (value as Record<string, unknown>)[part];
  const { metadata, spec } = value as Pod;
  return {
    ...(value as Pod),
    metadata: { ...metadata, namespace },
    spec: { ...spec, serviceAccountName: spec?.serviceAccountName || 'default' },
  };
}

type Note = Omit<InjectNote, 'object'>;

function injectPod(pod: Pod, namespace: string, context: InjectContext): { patch: AddOperation[]; notes: Note[] } {
  const { installation, namespaceOf } = context;
  const { defaults, podSecurityDefault, imagePullPolicy, operatorUrl, caBundle, version } = installation;
  const decision = decide(pod, { namespace: namespaceOf(namespace), defaults, podSecurityDefault });
  const lacking = (message: string): Note => ({ what: 'lacking', isQuiet: false, message });
  const warnings = decision.warnings.map(lacking);
  const skip = (reason: SkipReason, message: string) => {
    const skipped: Note = { what: 'skipped', isQuiet: QUIET_REASONS.has(reason), message: `${message} (${reason})` };
    return { patch: [], notes: [skipped, ...decision.warnings.map(lacking)] };
  };
  if (!decision.inject) return skip(decision.reason, decision.message);
  const { settings, capture } = decision;
  const declared = context.declared(namespace, pod.metadata?.labels ?? {});
  const certificates = certificatesOf(declared);
  const { hosts: tlsHosts, warnings: leftOut } = tlsHostsOf(declared);
  warnings.push(...leftOut.map(lacking));
  let birth: Birth | undefined;
  if (capture !== 'iptables') {
    birth = birthOf(pod, { settings, capture, namespace, clusterDomain: installation.clusterDomain, declared });
    if (declared.length === 0) {
      warnings.push(
        lacking(
          `with capture ${capture} a pod knows only what is declared when it is made, and no ServiceDependency selects it: its calls pass by the sidecar`,
        ),
      );
    }
    warnings.push(...birth.warnings.map(lacking), ...birth.leftOut.map((one) => lacking(describeLeftOut(one))));
  }
  const patch = patchFor(pod, {
    settings,
    capture,
    birth,
    certificates,
    tlsHosts,
    operatorUrl,
    caBundle,
    version,
    imagePullPolicy,
  });
  const large = tooLarge(pod, patch);
  if (large !== undefined) return skip('PodTooLarge', large);
  const injected: Note = { what: 'injected', isQuiet: true, message: `injected, capture ${capture}` };
  return { patch, notes: [injected, ...warnings] };
}
