// Everything that injection changes in a pod, in one list: the docs show it, and the tests hold every injected pod against it.
import { BOOTSTRAP_ANNOTATION } from '../../plan/bootstrap.ts';
import type { CaptureMode } from '../compile/capture.ts';
import { CERTIFICATES_VOLUME } from '../compile/objects.ts';
import { UNPRIVILEGED_PORT_START } from './loopback.ts';
import {
  CAPTURE_CONTAINER,
  DEFAULT_CONTAINER_ANNOTATION,
  SIDECAR_CONTAINER,
  STATE_VOLUME,
  TOKEN_VOLUME,
} from './patch.ts';
import { INJECTED_ANNOTATION, INJECTED_LABEL } from './settings.ts';

export interface Change {
  /** Path of the map or list; [] stands for each of a list. */
  path: string;
  /** Keys of a map or names of a list (of host aliases, addresses), * for anything. What is there of the user's own stays as it is. */
  adds: readonly string[];
  /** It is written anew where it is there already. */
  overwrites?: true;
  capture: readonly CaptureMode[];
  doc: string;
}

const EVERY: readonly CaptureMode[] = ['iptables', 'loopback', 'explicit'];

export const CHANGES: readonly Change[] = [
  {
    path: 'metadata.labels',
    adds: [INJECTED_LABEL],
    overwrites: true,
    capture: EVERY,
    doc: 'to select injected pods by',
  },
  {
    path: 'metadata.annotations',
    adds: [INJECTED_ANNOTATION],
    overwrites: true,
    capture: EVERY,
    doc: 'the version of the operator; one that was copied from another pod is written anew',
  },
  {
    path: 'metadata.annotations',
    adds: [DEFAULT_CONTAINER_ANNOTATION],
    capture: EVERY,
    doc: 'the first container, where nobody chose one, so that `kubectl logs` and `exec` go on finding the application',
  },
  {
    path: 'metadata.annotations',
    adds: [BOOTSTRAP_ANNOTATION],
    overwrites: true,
    capture: ['loopback', 'explicit'],
    doc: 'what the sidecar listens for before its first plan',
  },
  {
    path: 'spec.initContainers',
    adds: [CAPTURE_CONTAINER],
    capture: ['iptables'],
    doc: 'sets the rules, and ends; before all others',
  },
  {
    path: 'spec.initContainers',
    adds: [SIDECAR_CONTAINER],
    capture: EVERY,
    doc: 'the sidecar; before those of the user',
  },
  {
    path: 'spec.volumes',
    adds: [TOKEN_VOLUME, STATE_VOLUME],
    capture: EVERY,
    doc: 'its token, and its state in memory; behind all others',
  },
  {
    path: 'spec.volumes',
    adds: [CERTIFICATES_VOLUME],
    capture: EVERY,
    doc: 'where a dependency says host.tls with certificates: these keys, for the sidecar alone; behind all others',
  },
  {
    path: 'spec.hostAliases',
    adds: ['127.77.*'],
    capture: ['loopback'],
    doc: 'the names of what is declared, at addresses of loopback; behind all others',
  },
  {
    path: 'spec.securityContext.sysctls',
    adds: [UNPRIVILEGED_PORT_START],
    capture: ['loopback'],
    doc: 'where the sidecar listens on a port below 1024, unless the pod sets it',
  },
  {
    path: 'spec.containers[].env',
    adds: ['BREAKWATER_*_ADDRESS', 'BREAKWATER_*_URL'],
    capture: ['explicit'],
    doc: 'where the sidecar listens for each dependency; before the others, unless there is one of that name',
  },
  {
    path: 'spec.initContainers[].env',
    adds: ['BREAKWATER_*_ADDRESS', 'BREAKWATER_*_URL'],
    capture: ['explicit'],
    doc: 'the same',
  },
];

/** Whether something of this name may be ours. */
export function mayBeAdded({ adds }: Change, name: string): boolean {
  return adds.some((pattern) => {
    const [start = '', end] = pattern.split('*');
    return end === undefined ? name === pattern : name.startsWith(start) && name.endsWith(end);
  });
}
