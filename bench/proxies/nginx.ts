// nginx as a proxy: next upstream for idempotent methods, passive checks, a bound on connections, a correlation ID, stub_status. Of opaque TCP
// its stream module: next upstream for connects that failed, passive checks, a bound on connections, an idle time.
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { HEAD_WITHIN_SECONDS, slowHeadsOf } from '../cases.ts';
import { ask, freePorts, untilServing } from '../loopback.ts';
import { processTree } from '../procfs.ts';
import type { Proxy, Setting } from '../setting.ts';
import { nginxConfig } from './nginx-config.ts';

/** Beside slow ones. */
const OTHER_CONNECTIONS = 1024;

export const nginx: Proxy = {
  name: 'nginx',
  async start(setting) {
    const { processes, tools, folder, bench, proxyCpu } = setting;
    const [port = 0, statusPort = 0] = await freePorts(2);
    const home = join(folder, 'nginx');
    await mkdir(home, { recursive: true });
    const file = join(home, 'nginx.conf');
    const isOpaque = bench.protocol === 'tcp';
    await writeFile(file, (isOpaque ? streamConfig : proxyConfig)(port, statusPort, setting));
    const program = processes.start(proxyCpu, tools.nginx, ['-p', home, '-c', file]);
    await Promise.race([untilServing(port, '/1k'), program.failed]);
    return {
      port,
      pids: processTree(program.pid),
      served: async () => (isOpaque ? readAccepted : readServed)((await ask(statusPort, '/')).body),
      failed: program.failed,
      stop: () => program.end(),
    };
  },
};

/** Third figure of the third line: all requests. */
function readServed(status: string): number {
  return readFigure(status, /^\s*\d+ \d+ (\d+)\s*$/m);
}

/** The first: all connections, those of the stream module among them. */
function readAccepted(status: string): number {
  return readFigure(status, /^\s*(\d+) \d+ \d+\s*$/m);
}

function readFigure(status: string, pattern: RegExp): number {
  const figure = Number(pattern.exec(status)?.[1]);
  if (!Number.isInteger(figure)) throw new Error(`nginx's status cannot be read:\n${status}`);
  return figure;
}

function streamConfig(port: number, statusPort: number, { tools, upstreamPort }: Setting): string {
  const block = `
stream {
  upstream service {
    zone service 64k;
    server 127.0.0.1:${upstreamPort} max_conns=1024 max_fails=5 fail_timeout=30s;
  }
  server {
    listen 127.0.0.1:${port} backlog=4096;
    proxy_pass service;
    proxy_connect_timeout 1s;
    proxy_timeout 60s;
    proxy_next_upstream on;
    proxy_next_upstream_tries 3;
  }
}`;
  return nginxConfig(statusServer(statusPort), { stream: { module: tools.nginxStream, block } });
}

function statusServer(port: number): string {
  return `
  server {
    listen 127.0.0.1:${port};
    location / { stub_status; }
  }`;
}

function proxyConfig(port: number, statusPort: number, { bench, upstreamPort }: Setting): string {
  const slowHeads = slowHeadsOf(bench.load);
  return nginxConfig(
    `
  upstream service {
    zone service 64k;
    server 127.0.0.1:${upstreamPort} max_conns=1024 max_fails=5 fail_timeout=30s;
    keepalive 1024;
    keepalive_requests 1000000000;
    keepalive_timeout 60s;
  }
  server {
    listen 127.0.0.1:${port} backlog=4096;
    ${slowHeads > 0 ? `client_header_timeout ${HEAD_WITHIN_SECONDS}s;` : ''}
    location / {
      proxy_pass http://service;
      proxy_http_version 1.1;
      proxy_set_header Host $http_host;
      proxy_set_header Connection "";
      proxy_set_header X-Correlation-ID $request_id;
      proxy_connect_timeout 1s;
      proxy_read_timeout 2s;
      proxy_send_timeout 2s;
      proxy_next_upstream error timeout http_502 http_503 http_504;
      proxy_next_upstream_tries 3;
      proxy_next_upstream_timeout 5s;
      proxy_request_buffering off;
      proxy_buffers 16 8k;
      proxy_max_temp_file_size 0;
    }
  }
${statusServer(statusPort)}`,
    slowHeads > 0 ? { connections: slowHeads + OTHER_CONNECTIONS } : {},
  );
}
