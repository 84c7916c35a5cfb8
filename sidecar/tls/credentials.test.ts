import { describe, expect, it } from 'vitest';
import { type CertificateFile, pathOfCertificate, type TlsPlan } from '../../plan/certificates.ts';
import { readCredentials } from './credentials.ts';
import { TestAuthority } from './testing/certificates.ts';

const authority = await TestAuthority.create();
const other = await TestAuthority.create('Another', { notAfterUnixMs: Date.now() + 3_600_000 });
const client = await authority.client('checkout');
const second = await authority.client('second');
const gone = await authority.client('gone', { notAfterUnixMs: Date.now() - 1_000 });

const PLAN: TlsPlan = {
  port: 443,
  serverName: 'api.partner.example',
  authorities: [{ kind: 'ConfigMap', name: 'partners' }],
  clientCertificate: 'client',
};
const GOOD: Readonly<Record<string, string>> = {
  'configmap/partners/ca.crt': authority.cert,
  'secret/client/tls.crt': client.cert,
  'secret/client/tls.key': client.key,
};

const readerOf = (texts: Readonly<Record<string, string>>) => (file: CertificateFile) =>
  texts[pathOfCertificate(file)] ?? null;

function read(
  texts: Readonly<Record<string, string>>,
  plan: Partial<TlsPlan> = {},
  before: Parameters<typeof readCredentials>[2] = null,
) {
  return readCredentials({ ...PLAN, ...plan }, readerOf(texts), before, Date.now());
}

describe('credentials', () => {
  it('are what the files hold', () => {
    const { credentials, problems } = read(GOOD);
    expect(problems).toEqual([]);
    expect(credentials?.client).toMatchObject({ cert: client.cert, key: client.key });
    expect(credentials?.authorities?.ca.map((pem) => pem.trim())).toEqual([authority.cert.trim()]);
  });

  it('may be none at all, for a host of the public web', () => {
    expect(read({}, { authorities: [], clientCertificate: null })).toEqual({
      credentials: { authorities: null, client: null },
      problems: [],
    });
  });

  it('trust every authority of every bundle, and expire with the first of them', () => {
    const plan = { authorities: [...PLAN.authorities, { kind: 'Secret' as const, name: 'more' }] };
    const more = { 'secret/more/ca.crt': `# of another\n${other.cert}\n${authority.cert}` };
    const { credentials, problems } = read({ ...GOOD, ...more }, plan);
    expect(problems).toEqual([]);
    expect(credentials?.authorities?.ca).toHaveLength(3);
    expect(credentials?.authorities?.expiresUnixMs).toBeLessThan(Date.now() + 3_600_000);
  });

  it('do with the bundles that are there, and say which is not', () => {
    const plan = { authorities: [...PLAN.authorities, { kind: 'Secret' as const, name: 'more' }] };
    const { credentials, problems } = read(GOOD, plan);
    expect(credentials?.authorities?.ca).toHaveLength(1);
    expect(problems).toEqual([
      'Secret more does not exist or has no key ca.crt; create it in the namespace of the pods',
    ]);
  });
});

const BROKEN: readonly (readonly [string, Record<string, string | null>, RegExp])[] = [
  [
    'there is no bundle',
    { 'configmap/partners/ca.crt': null },
    /^ConfigMap partners does not exist or has no key ca\.crt/,
  ],
  [
    'the bundle is empty',
    { 'configmap/partners/ca.crt': '' },
    /^ca\.crt of ConfigMap partners does not hold certificates/,
  ],
  [
    'the bundle is damaged',
    { 'configmap/partners/ca.crt': authority.cert.replaceAll(/[a-f]/g, 'g') },
    /does not hold certificates/,
  ],
  [
    'there is no certificate',
    { 'secret/client/tls.crt': null },
    /^Secret client does not exist or has no key tls\.crt/,
  ],
  ['there is no key', { 'secret/client/tls.key': null }, /^Secret client does not exist or has no key tls\.key/],
  [
    'the certificate is none',
    { 'secret/client/tls.crt': client.key },
    /^tls\.crt of Secret client holds no certificate/,
  ],
  ['the key is none', { 'secret/client/tls.key': client.cert }, /^tls\.key of Secret client holds no private key/],
  [
    'the key is that of another',
    { 'secret/client/tls.key': second.key },
    /^tls\.key of Secret client is not the key of its/,
  ],
];

describe.each(BROKEN)('where %s', (_, changes, problem) => {
  const texts = Object.fromEntries(
    Object.entries({ ...GOOD, ...changes }).filter((entry): entry is [string, string] => entry[1] !== null),
  );

  it('there is nothing to speak TLS with, and it is said', () => {
    const { credentials, problems } = read(texts);
    expect(credentials).toBeNull();
    expect(problems).toHaveLength(1);
    expect(problems[0]).toMatch(problem);
  });

  it('the last good ones stay, and it is said', () => {
    const before = read(GOOD).credentials;
    const { credentials, problems } = read(texts, {}, before);
    expect(credentials).toEqual(before);
    expect(problems[0]).toMatch(problem);
  });

  it('nothing of a key is in what is said', () => {
    const secrets = [client.key, second.key].flatMap((pem) => pem.split('\n').filter((line) => line.length > 20));
    for (const line of secrets) expect(read(texts).problems.join()).not.toContain(line);
  });
});

it('an expired certificate is used, for there is nothing better, and said to be', () => {
  const texts = { ...GOOD, 'secret/client/tls.crt': gone.cert, 'secret/client/tls.key': gone.key };
  const { credentials, problems } = read(texts);
  expect(credentials?.client?.cert).toBe(gone.cert);
  expect(problems).toEqual([
    expect.stringMatching(/^the certificate in Secret client expired at \d{4}-.*Z; renew it$/),
  ]);
});
