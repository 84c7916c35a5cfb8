import { expect, it } from 'vitest';
import { folderCertificates } from './folder-certificates.ts';

const encoded = (text: string) => Buffer.from(text).toString('base64');
const object = (kind: string, name: string, fields: object) => ({
  apiVersion: 'v1',
  kind,
  metadata: { name, namespace: 'shop' },
  ...fields,
});

it('finds the keys that TLS may name in Secrets and ConfigMaps, and nothing else', () => {
  const found = folderCertificates([
    object('Secret', 'client', {
      data: { 'tls.crt': encoded('cert'), 'tls.key': encoded('key'), password: encoded('x') },
    }),
    object('ConfigMap', 'partners', { data: { 'ca.crt': 'authority', other: 'x' } }),
    object('Service', 'partners', { data: { 'ca.crt': 'no' } }),
    { apiVersion: 'v1', kind: 'Secret', metadata: { name: 'elsewhere' }, stringData: { 'ca.crt': 'plain' } },
    object('Secret', 'odd', { data: 7 }),
    object('Secret', 'odder', { data: { 'tls.crt': 7 } }),
    {},
  ]);
  expect(Object.fromEntries(found)).toEqual({
    'shop/secret/client/tls.crt': 'cert',
    'shop/secret/client/tls.key': 'key',
    'shop/configmap/partners/ca.crt': 'authority',
    'default/secret/elsewhere/ca.crt': 'plain',
  });
});

it('lets stringData win, and of two objects of one name the later one', () => {
  const found = folderCertificates([
    object('Secret', 'client', { data: { 'tls.crt': encoded('old'), 'tls.key': encoded('old') } }),
    object('Secret', 'client', { data: { 'tls.crt': encoded('data') }, stringData: { 'tls.crt': 'plain' } }),
  ]);
  expect(Object.fromEntries(found)).toEqual({ 'shop/secret/client/tls.crt': 'plain' });
});
