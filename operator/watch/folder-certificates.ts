// Certificates among the manifests of a folder: of Secrets and ConfigMaps the keys that TLS to hosts may name, and nothing else. Pure.
import { CA_KEY, CERTIFICATE_KEY, PRIVATE_KEY_KEY, pathOfCertificate } from '../../plan/certificates.ts';
import { field, objectKey } from '../compile/objects.ts';

const KINDS: Readonly<Record<string, 'ConfigMap' | 'Secret'>> = { 'v1 ConfigMap': 'ConfigMap', 'v1 Secret': 'Secret' };
const KEYS = [CA_KEY, CERTIFICATE_KEY, PRIVATE_KEY_KEY] as const;

/** By "<namespace>/<path>", as pathOfCertificate writes it: the text. Of two objects of one name the later one counts. */
export function folderCertificates(objects: Iterable<object>): ReadonlyMap<string, string> {
  const texts = new Map<string, string>();
  for (const raw of objects) {
    const kind = KINDS[`${String(field(raw, 'apiVersion'))} ${String(field(raw, 'kind'))}`];
    const identity = objectKey(raw);
    if (kind === undefined || identity === undefined) continue;
    for (const key of KEYS) {
      const path = `${identity.namespace}/${pathOfCertificate({ object: { kind, name: identity.name }, key })}`;
      const text = textOf(raw, kind, key);
      if (text === undefined) texts.delete(path);
      else texts.set(path, text);
    }
  }
  return texts;
}

/** `stringData` of a Secret wins over its `data`, as the API server has it. */
function textOf(raw: object, kind: 'ConfigMap' | 'Secret', key: string): string | undefined {
  const plain = field(field(raw, kind === 'Secret' ? 'stringData' : 'data'), key);
  if (typeof plain === 'string') return plain;
  const encoded = kind === 'Secret' ? field(field(raw, 'data'), key) : undefined;
  return typeof encoded === 'string' ? Buffer.from(encoded, 'base64').toString('utf8') : undefined;
}
