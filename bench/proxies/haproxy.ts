// HAProxy: retries on layer 7 for idempotent methods, timeouts, a queue before a bounded number of connections, passive checks of answers,
// a correlation ID, its statistics.
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { ask, freePorts, untilServing } from '../loopback.ts';
import { processTree } from '../procfs.ts';
import type { Proxy } from '../setting.ts';

export const haproxy: Proxy = {
  name: 'haproxy',
  async start({ processes, tools, folder, upstreamPort, proxyCpu }) {
    const [port = 0, statusPort = 0] = await freePorts(2);
    const home = join(folder, 'haproxy');
    await mkdir(home, { recursive: true });
    const file = join(home, 'haproxy.cfg');
    await writeFile(file, config(port, statusPort, upstreamPort));
    const program = processes.start(proxyCpu, tools.haproxy, ['-db', '-q', '-f', file]);
    await Promise.race([untilServing(port, '/1k'), program.failed]);
    return {
      port,
      pids: processTree(program.pid),
      served: async () => readServed((await ask(statusPort, '/;csv')).body),
      failed: program.failed,
      stop: () => program.end(),
    };
  },
};

function readServed(csv: string): number {
  const [head = '', ...rows] = csv.replace(/^# /, '').split('\n');
  const columns = head.split(',');
  const cell = (row: string, name: string) => row.split(',')[columns.indexOf(name)];
  const row = rows.find((each) => cell(each, 'pxname') === 'service' && cell(each, 'svname') === 'BACKEND');
  const served = Number(cell(row ?? '', 'hrsp_2xx'));
  if (!Number.isInteger(served)) throw new Error(`HAProxy's statistics cannot be read:\n${csv}`);
  return served;
}

function config(port: number, statusPort: number, upstreamPort: number): string {
  return `
global
  nbthread 1
  maxconn 8192
defaults
  mode http
  timeout connect 1s
  timeout client 60s
  timeout server 2s
  timeout queue 500ms
  timeout http-request 5s
  timeout http-keep-alive 60s
  http-reuse always
frontend outbound
  bind 127.0.0.1:${port} backlog 4096
  unique-id-format %[uuid]
  unique-id-header X-Correlation-ID
  default_backend service
backend service
  balance leastconn
  retries 2
  retry-on conn-failure empty-response junk-response response-timeout 502 503 504
  http-request disable-l7-retry unless { method GET HEAD OPTIONS PUT DELETE TRACE }
  server one 127.0.0.1:${upstreamPort} maxconn 1024 maxqueue 1024 pool-max-conn 1024 check inter 30s observe layer7 error-limit 5 on-error mark-down
frontend statistics
  bind 127.0.0.1:${statusPort}
  stats enable
  stats uri /
`;
}
