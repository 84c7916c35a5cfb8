import { describe, expect, it } from 'vitest';
import { readCaptureConfig, readControlConfig, readSidecarConfig } from './config.ts';

const least = {
  BREAKWATER_OPERATOR_URL: 'https://breakwater-operator.breakwater-system.svc:8443',
  BREAKWATER_TOKEN_FILE: '/var/run/secrets/breakwater/token',
  BREAKWATER_CA_BUNDLE: '-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n',
};

describe('readSidecarConfig', () => {
  it('needs little and knows the rest', () => {
    expect(readSidecarConfig(least)).toEqual({
      capture: 'iptables',
      bootstrap: null,
      podIp: '',
      dnsServers: [],
      operatorUrl: new URL(least.BREAKWATER_OPERATOR_URL),
      tokenFile: '/var/run/secrets/breakwater/token',
      caBundle: least.BREAKWATER_CA_BUNDLE,
      caFile: null,
      stateDirectory: null,
      certificatesDirectory: null,
      tlsHosts: [],
      outboundPort: 15_101,
      adminHost: '0.0.0.0',
      adminPort: 15_102,
      controlPort: 15_103,
      pod: { podName: '', podNamespace: '' },
      logLevel: 'info',
      firstPlanWaitMs: 10_000,
      drainTimeoutMs: 10_000,
      parentWatch: false,
    });
  });

  it('listens where the kubelet probes', () => {
    expect(readSidecarConfig({ ...least, BREAKWATER_POD_IP: 'fd00::12' }).adminHost).toBe('::');
    expect(readSidecarConfig({ ...least, BREAKWATER_POD_IP: '10.0.0.1' }).adminHost).toBe('0.0.0.0');
    expect(
      readSidecarConfig({ ...least, BREAKWATER_POD_IP: 'fd00::12', BREAKWATER_ADMIN_HOST: '127.0.0.1' }).adminHost,
    ).toBe('127.0.0.1');
  });

  it('reads what the pod was born with', () => {
    const bootstrap = { formatVersion: 1, capture: 'loopback', entries: [], leftOut: [] };
    const read = (capture: string, text: string) =>
      readSidecarConfig({ ...least, BREAKWATER_CAPTURE: capture, BREAKWATER_BOOTSTRAP: text }).bootstrap;
    expect(read('loopback', JSON.stringify(bootstrap))).toEqual(bootstrap);
    expect(read('iptables', 'anything')).toBeNull();
    expect(read('explicit', '')).toBeNull();
    expect(() => read('loopback', '')).toThrow('must say where to listen under capture loopback');
    expect(() => read('loopback', '{')).toThrow('cannot be read: it is not JSON');
    expect(() => read('explicit', JSON.stringify(bootstrap))).toThrow('is for capture loopback, not explicit');
  });

  it('reads which servers to ask', () => {
    const read = (text: string) => readSidecarConfig({ ...least, BREAKWATER_DNS_SERVERS: text }).dnsServers;
    expect(read('10.96.0.10, 127.0.0.1:5353,[fd00::a]:53,fd00::b')).toEqual([
      '10.96.0.10',
      '127.0.0.1:5353',
      '[fd00::a]:53',
      'fd00::b',
    ]);
    for (const text of ['dns.example.com', '127.0.0.1:0', '127.0.0.1:70000', '[::1'])
      expect(() => read(text)).toThrow(`"${text}" is neither an IP address nor one with a port`);
  });

  it('names everything that does not fit at once', () => {
    const bad = {
      BREAKWATER_CAPTURE: 'magic',
      BREAKWATER_OPERATOR_URL: 'http://operator',
      BREAKWATER_ADMIN_PORT: '70000',
      BREAKWATER_FIRST_PLAN_WAIT_MS: '-1',
      BREAKWATER_CA_BUNDLE: 'none',
    };
    let message = '';
    try {
      readSidecarConfig(bad);
    } catch (error) {
      message = (error as Error).message;
    }
    for (const name of [...Object.keys(bad), 'BREAKWATER_TOKEN_FILE']) expect(message).toContain(name);
    expect(message).toContain('must be an https:// URL');
    expect(message).toContain('must be a whole number from 0 to 65535');
  });

  it('takes the hosts that TLS is spoken to, and says what they look like where they do not', () => {
    const read = (text: string) => readSidecarConfig({ ...least, BREAKWATER_TLS_HOSTS: text }).tlsHosts;
    expect(read('api.stripe.com:80,b.test:8080')).toEqual([
      { name: 'api.stripe.com', port: 80 },
      { name: 'b.test', port: 8080 },
    ]);
    expect(() => read('api.stripe.com')).toThrow('BREAKWATER_TLS_HOSTS: must be at most 256 names with ports');
  });

  it('needs an authority to trust', () => {
    const { BREAKWATER_CA_BUNDLE: _, ...rest } = least;
    expect(() => readSidecarConfig(rest)).toThrow('BREAKWATER_CA_FILE');
    expect(readSidecarConfig({ ...rest, BREAKWATER_CA_FILE: '/ca.pem' }).caFile).toBe('/ca.pem');
  });
});

describe('readCaptureConfig', () => {
  it('reads ports, ranges and CIDRs of both families', () => {
    const config = readCaptureConfig({
      BREAKWATER_EXCLUDE_OUTBOUND_PORTS: '5432, 8000-8010,',
      BREAKWATER_EXCLUDE_OUTBOUND_CIDRS: '10.0.0.0/8, fd00::/8,192.168.1.1',
      KUBERNETES_SERVICE_HOST: '10.96.0.1',
      KUBERNETES_SERVICE_PORT: '6443',
    });
    expect(config).toEqual({
      outboundPort: 15_101,
      sidecarUid: 14_750,
      excludedPorts: [
        { from: 5432, to: 5432 },
        { from: 8000, to: 8010 },
      ],
      excludedCidrs: ['10.0.0.0/8', 'fd00::/8', '192.168.1.1'],
      apiServer: { host: '10.96.0.1', port: 6443 },
      logLevel: 'info',
    });
  });

  it('excludes nothing outside a cluster', () => {
    expect(readCaptureConfig({})).toMatchObject({ excludedPorts: [], excludedCidrs: [], apiServer: null });
  });

  it.each([
    ['BREAKWATER_EXCLUDE_OUTBOUND_PORTS', '0'],
    ['BREAKWATER_EXCLUDE_OUTBOUND_PORTS', '80-70'],
    ['BREAKWATER_EXCLUDE_OUTBOUND_PORTS', '80 -j ACCEPT'],
    ['BREAKWATER_EXCLUDE_OUTBOUND_CIDRS', '10.0.0.0/33'],
    ['BREAKWATER_EXCLUDE_OUTBOUND_CIDRS', '10.0.0.1\n-A OUTPUT -j DROP'],
    ['BREAKWATER_SIDECAR_UID', '0'],
  ])('refuses %s=%s', (name, value) => {
    expect(() => readCaptureConfig({ [name]: value })).toThrow(name);
  });
});

it('readControlConfig has what a command needs', () => {
  expect(readControlConfig({})).toEqual({ controlPort: 15_103, stateDirectory: null });
  expect(readControlConfig({ BREAKWATER_CONTROL_PORT: '0', BREAKWATER_STATE_DIRECTORY: '/state' })).toEqual({
    controlPort: 0,
    stateDirectory: '/state',
  });
});
