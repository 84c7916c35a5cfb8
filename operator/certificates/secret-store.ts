// The certificates in a Secret of the operator's own namespace.
import { type KubernetesApi, statusOf } from './kubernetes-api.ts';
import type { CertificateStore, StoredDocument } from './store.ts';

const DOCUMENT_KEY = 'certificates.json';
const BUNDLE_KEY = 'ca.crt';

interface Secret {
  metadata?: { resourceVersion?: string; labels?: Record<string, string> };
  data?: Record<string, string>;
}

export interface SecretStoreOptions {
  api: KubernetesApi;
  namespace: string;
  name: string;
}

/** Needs `get` and `update` on this one Secret; and `create` on Secrets of the namespace, unless somebody prepared an empty one. */
export function createSecretStore({ api, namespace, name }: SecretStoreOptions): CertificateStore {
  const collection = `/api/v1/namespaces/${namespace}/secrets`;
  /** What each document was read from: labels and annotations belong to whoever made the Secret, and stay. */
  const sources = new WeakMap<StoredDocument, Secret>();

  const created = {
    apiVersion: 'v1',
    kind: 'Secret',
    metadata: { name, namespace, labels: { 'app.kubernetes.io/managed-by': 'breakwater-operator' } },
    type: 'Opaque',
  };

  return {
    name: `Secret ${namespace}/${name}`,

    async read(): Promise<StoredDocument | undefined> {
      let secret: Secret;
      try {
        secret = await api.request<Secret>('GET', `${collection}/${name}`);
      } catch (error) {
        if (statusOf(error) === 404) return undefined;
        throw error;
      }
      const data = secret.data?.[DOCUMENT_KEY];
      // An empty Secret is a place that somebody prepared for us: there, but to be filled under its own revision.
      const text = data === undefined ? '' : Buffer.from(data, 'base64').toString('utf8');
      const document = { text, revision: secret.metadata?.resourceVersion ?? '' };
      sources.set(document, secret);
      return document;
    },

    async write(text, bundle, previous): Promise<boolean> {
      const data = {
        [DOCUMENT_KEY]: Buffer.from(text).toString('base64'),
        [BUNDLE_KEY]: Buffer.from(bundle).toString('base64'),
      };
      try {
        if (previous) {
          // The resourceVersion that was read goes back with it, so that the API server refuses it when somebody was faster.
          const source = sources.get(previous);
          await api.request('PUT', `${collection}/${name}`, {
            body: { ...source, data: { ...source?.data, ...data } },
          });
        } else {
          await api.request('POST', collection, { body: { ...created, data } });
        }
        return true;
      } catch (error) {
        // 409: it exists already, or has another revision by now. 404: it was deleted between the two.
        const status = statusOf(error);
        if (status === 409 || (previous && status === 404)) return false;
        throw error;
      }
    },
  };
}
