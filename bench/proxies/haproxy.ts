// HAProxy: retries on layer 7 for idempotent methods, timeouts, a queue before a bounded number of connections, passive checks of answers,
// a correlation ID, its statistics. Of opaque TCP: retries of the connect, timeouts, the queue, passive checks of connects.
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { HEAD_WITHIN_SECONDS, slowHeadsOf } from '../cases.ts';
import { ask, askByHttp2, freePorts, untilServing } from '../loopback.ts';
import { processTree } from '../procfs.ts';
import type { Proxy, Setting } from '../setting.ts';

/** Beside slow ones. HAProxy starts only where open files allow two for each connection. */
const OTHER_CONNECTIONS = 32;

export const haproxy: Proxy = {
  name: 'haproxy',
  async start(setting) {
    const { processes, tools, folder, bench, proxyCpu } = setting;
    const [port = 0, statusPort = 0] = await freePorts(2);
    const home = join(folder, 'haproxy');
    await mkdir(home, { recursive: true });
    const file = join(home, 'haproxy.cfg');
    const isOpaque = bench.protocol === 'tcp';
    await writeFile(file, isOpaque ? tcpConfig(port, statusPort, setting) : config(port, statusPort, setting));
    const program = processes.start(proxyCpu, tools.haproxy, ['-db', '-q', '-f', file]);
    await Promise.race([untilServing(port, '/1k', bench.protocol === 'http2' ? askByHttp2 : ask), program.failed]);
    return {
      port,
      pids: processTree(program.pid),
      served: async () => readServed((await ask(statusPort, '/;csv')).body, isOpaque ? 'stot' : 'hrsp_2xx'),
      failed: program.failed,
      stop: () => program.end(),
    };
  },
};

/** `column`: sessions in all, or answers with a status of 2xx. */
function readServed(csv: string, column: 'stot' | 'hrsp_2xx'): number {
  const [head = '', ...rows] = csv.replace(/^# /, '').split('\n');
  const columns = head.split(',');
  const cell = (row: string, name: string) => row.split(',')[columns.indexOf(name)];
  const row = rows.find((each) => cell(each, 'pxname') === 'service' && cell(each, 'svname') === 'BACKEND');
  const served = Number(cell(row ?? '', column));
  if (!Number.isInteger(served)) throw new Error(`HAProxy's statistics cannot be read:\n${csv}`);
  return served;
}

function tcpConfig(port: number, statusPort: number, { upstreamPort }: Setting): string {
  return `
global
  nbthread 1
  maxconn 8192
defaults
  mode tcp
  timeout connect 1s
  timeout client 60s
  timeout server 60s
  timeout queue 500ms
frontend outbound
  bind 127.0.0.1:${port} backlog 4096
  default_backend service
backend service
  balance leastconn
  retries 2
  server one 127.0.0.1:${upstreamPort} maxconn 1024 maxqueue 1024 check inter 30s observe layer4 error-limit 5 on-error mark-down
${statistics(statusPort)}`;
}

function statistics(port: number): string {
  return `
frontend statistics
  mode http
  bind 127.0.0.1:${port}
  stats enable
  stats uri /
`;
}

/** HTTP/1.1, or HTTP/2 on both sides, with prior knowledge. */
function config(port: number, statusPort: number, { bench, upstreamPort }: Setting): string {
  const slowHeads = slowHeadsOf(bench.load);
  const protocol = bench.protocol === 'http2' ? 'proto h2' : '';
  return `
global
  nbthread 1
  maxconn ${slowHeads > 0 ? slowHeads + OTHER_CONNECTIONS : 8192}
defaults
  mode http
  timeout connect 1s
  timeout client 60s
  timeout server 2s
  timeout queue 500ms
  timeout http-request ${slowHeads > 0 ? HEAD_WITHIN_SECONDS : 5}s
  timeout http-keep-alive 60s
  http-reuse always
frontend outbound
  bind 127.0.0.1:${port} backlog 4096 ${protocol}
  unique-id-format %[uuid]
  unique-id-header X-Correlation-ID
  default_backend service
backend service
  balance leastconn
  retries 2
  retry-on conn-failure empty-response junk-response response-timeout 502 503 504
  http-request disable-l7-retry unless { method GET HEAD OPTIONS PUT DELETE TRACE }
  server one 127.0.0.1:${upstreamPort} ${protocol} maxconn 1024 maxqueue 1024 pool-max-conn 1024 check inter 30s observe layer7 error-limit 5 on-error mark-down
${statistics(statusPort)}`;
}
