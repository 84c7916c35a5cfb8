// Envoy: timeouts, retries with a budget, circuit breaker thresholds, outlier detection, a request ID, two routes, its statistics. Of opaque TCP:
// timeouts, attempts to connect, thresholds, outlier detection by connections.
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type BenchCase, HEAD_WITHIN_SECONDS, slowHeadsOf } from '../cases.ts';
import { ask, askByHttp2, freePorts, untilServing } from '../loopback.ts';
import type { Program } from '../processes.ts';
import { processTree } from '../procfs.ts';
import type { Proxy, Setting } from '../setting.ts';

export interface PreparedEnvoy {
  port: number;
  adminPort: number;
  start: () => Program;
}

/** Writes its configuration. */
export async function prepareEnvoy(setting: Setting): Promise<PreparedEnvoy> {
  const { processes, tools, folder, proxyCpu } = setting;
  const [port = 0, adminPort = 0] = await freePorts(2);
  const home = join(folder, 'envoy');
  await mkdir(home, { recursive: true });
  const file = join(home, 'envoy.json');
  await writeFile(file, JSON.stringify(config(port, adminPort, setting)));
  const args = ['--config-path', file, '--concurrency', '1', '--disable-hot-restart', '--log-level', 'error'];
  return { port, adminPort, start: () => processes.start(proxyCpu, tools.envoy, args) };
}

export const envoy: Proxy = {
  name: 'envoy',
  async start(setting) {
    const { bench } = setting;
    const { port, adminPort, start } = await prepareEnvoy(setting);
    const program = start();
    await Promise.race([untilServing(port, '/1k', bench.protocol === 'http2' ? askByHttp2 : ask), program.failed]);
    const served = bench.protocol === 'tcp' ? 'tcp.outbound.downstream_cx_total' : 'cluster.service.upstream_rq_2xx';
    return {
      port,
      pids: processTree(program.pid),
      served: async () => readServed((await ask(adminPort, `/stats?filter=^${served}$`)).body, served),
      failed: program.failed,
      stop: () => program.end(),
    };
  },
};

function readServed(stats: string, name: string): number {
  const served = Number(
    stats
      .split('\n')
      .find((line) => line.startsWith(`${name}: `))
      ?.slice(name.length + 2),
  );
  if (!Number.isInteger(served)) throw new Error(`Envoy's statistics cannot be read:\n${stats}`);
  return served;
}

const TYPES = 'type.googleapis.com/envoy.extensions';
const address = (port: number) => ({ socket_address: { address: '127.0.0.1', port_value: port } });
const idempotent = {
  retry_on: 'connect-failure,refused-stream,reset,gateway-error',
  num_retries: 2,
  per_try_timeout: '2s',
  retry_back_off: { base_interval: '0.025s', max_interval: '0.25s' },
};
const route = { cluster: 'service', timeout: '5s' };

function config(port: number, adminPort: number, { bench, upstreamPort }: Setting): object {
  const filter = bench.protocol === 'tcp' ? TCP_PROXY : connectionManager(bench);
  return {
    admin: { address: address(adminPort) },
    static_resources: {
      listeners: [{ name: 'outbound', address: address(port), filter_chains: [{ filters: [filter] }] }],
      clusters: [cluster(upstreamPort, bench.protocol === 'http2')],
    },
  };
}

const TCP_PROXY = {
  name: 'envoy.filters.network.tcp_proxy',
  typed_config: {
    '@type': `${TYPES}.filters.network.tcp_proxy.v3.TcpProxy`,
    stat_prefix: 'outbound',
    cluster: 'service',
    idle_timeout: '60s',
    max_connect_attempts: 3,
  },
};

/** It speaks what the application speaks: HTTP/1.1 or HTTP/2. */
function connectionManager({ rules, load }: BenchCase): object {
  const charge = { prefix: '/charges', headers: [{ name: ':method', string_match: { exact: 'POST' } }] };
  const post = { prefix: '/', headers: [{ name: ':method', string_match: { exact: 'POST' } }] };
  const others = Array.from({ length: rules - 1 }, (_, index) => ({
    match: { prefix: `/other/${index}`, headers: [{ name: ':method', string_match: { exact: 'GET' } }] },
    route: { ...route, timeout: `${index + 3}s`, retry_policy: idempotent },
  }));
  return {
    name: 'envoy.filters.network.http_connection_manager',
    typed_config: {
      '@type': `${TYPES}.filters.network.http_connection_manager.v3.HttpConnectionManager`,
      stat_prefix: 'outbound',
      generate_request_id: true,
      stream_idle_timeout: '60s',
      // Fields that nobody else adds: to write them would be work of its own.
      server_header_transformation: 'PASS_THROUGH',
      ...(slowHeadsOf(load) > 0 ? { request_headers_timeout: `${HEAD_WITHIN_SECONDS}s` } : {}),
      route_config: {
        virtual_hosts: [
          {
            name: 'service',
            domains: ['*'],
            routes: [
              ...others,
              { match: charge, route: { ...route, timeout: '10s' } },
              { match: post, route: { ...route, retry_policy: { ...idempotent, retry_on: 'connect-failure' } } },
              { match: { prefix: '/' }, route: { ...route, retry_policy: idempotent } },
            ],
          },
        ],
      },
      http_filters: [
        {
          name: 'envoy.filters.http.router',
          typed_config: { '@type': `${TYPES}.filters.http.router.v3.Router`, suppress_envoy_headers: true },
        },
      ],
    },
  };
}

const HTTP2_UPSTREAM = {
  typed_extension_protocol_options: {
    'envoy.extensions.upstreams.http.v3.HttpProtocolOptions': {
      '@type': `${TYPES}.upstreams.http.v3.HttpProtocolOptions`,
      explicit_http_config: { http2_protocol_options: {} },
    },
  },
};

function cluster(upstreamPort: number, speaksHttp2: boolean): object {
  return {
    name: 'service',
    type: 'STATIC',
    connect_timeout: '1s',
    ...(speaksHttp2 ? HTTP2_UPSTREAM : {}),
    lb_policy: 'LEAST_REQUEST',
    circuit_breakers: {
      thresholds: [
        {
          max_connections: 1024,
          max_requests: 1024,
          max_pending_requests: 1024,
          retry_budget: { budget_percent: { value: 20 }, min_retry_concurrency: 10 },
        },
      ],
    },
    outlier_detection: { consecutive_5xx: 5, base_ejection_time: '30s', max_ejection_percent: 100 },
    load_assignment: {
      cluster_name: 'service',
      endpoints: [{ lb_endpoints: [{ endpoint: { address: address(upstreamPort) } }] }],
    },
  };
}
