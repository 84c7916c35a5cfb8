// Certificates that a pod's sidecar needs to speak TLS: files of the pod's own namespace, mounted into the sidecar and nowhere else. The
// kubelet reads them with the rights of the node for this pod alone and renews them; the operator has no right to read any Secret.
import { type CertificateFile, certificateFiles, pathOfCertificate } from '../../plan/certificates.ts';
import { CERTIFICATES_VOLUME } from '../compile/objects.ts';
import { compareText, groupBy } from '../compile/world-index.ts';
import type { Declared } from './declared.ts';

export const CERTIFICATES_DIRECTORY = '/var/run/secrets/breakwater.dev-certificates';

/** Of all that a pod declares, each once, in the order of their paths. */
export function certificatesOf(declared: readonly Declared[]): CertificateFile[] {
  const files = new Map<string, CertificateFile>();
  for (const { host } of declared) {
    if (host?.tls === undefined) continue;
    for (const file of certificateFiles(host.tls)) files.set(pathOfCertificate(file), file);
  }
  return [...files].sort(([a], [b]) => compareText(a, b)).map(([, file]) => file);
}

/** Optional, all of them: what is not there yet appears once it is made, and never keeps the pod from starting. */
export function certificatesVolume(files: readonly CertificateFile[]): { name: string; projected: object } {
  const byObject = groupBy(files, ({ object }) => `${object.kind}/${object.name}`);
  const sources = [...byObject.values()].flatMap((group) => {
    const [first] = group;
    if (first === undefined) return [];
    const items = group.map((file) => ({ key: file.key, path: pathOfCertificate(file) }));
    const source = { name: first.object.name, optional: true, items };
    return [first.object.kind === 'Secret' ? { secret: source } : { configMap: source }];
  });
  // The sidecar is not root, and which group it may have is the pod's to say: so everybody may read, of whom only the sidecar is there.
  return { name: CERTIFICATES_VOLUME, projected: { defaultMode: 0o444, sources } };
}
