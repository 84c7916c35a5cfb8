// nginx as a proxy: next upstream for idempotent methods, passive checks, a bound on connections, a correlation ID, stub_status.
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { ask, freePorts, untilServing } from '../loopback.ts';
import { processTree } from '../procfs.ts';
import type { Proxy } from '../setting.ts';
import { nginxConfig } from './nginx-config.ts';

export const nginx: Proxy = {
  name: 'nginx',
  async start({ processes, tools, folder, upstreamPort, proxyCpu }) {
    const [port = 0, statusPort = 0] = await freePorts(2);
    const home = join(folder, 'nginx');
    await mkdir(home, { recursive: true });
    const file = join(home, 'nginx.conf');
    await writeFile(file, proxyConfig(port, statusPort, upstreamPort));
    const program = processes.start(proxyCpu, tools.nginx, ['-p', home, '-c', file]);
    await Promise.race([untilServing(port, '/1k'), program.failed]);
    return {
      port,
      pids: processTree(program.pid),
      served: async () => readServed((await ask(statusPort, '/')).body),
      failed: program.failed,
      stop: () => program.end(),
    };
  },
};

/** Third figure of the third line: all requests. */
function readServed(status: string): number {
  const served = Number(/^\s*\d+ \d+ (\d+)\s*$/m.exec(status)?.[1]);
  if (!Number.isInteger(served)) throw new Error(`nginx's status cannot be read:\n${status}`);
  return served;
}

function proxyConfig(port: number, statusPort: number, upstreamPort: number): string {
  return nginxConfig(`
  upstream service {
    zone service 64k;
    server 127.0.0.1:${upstreamPort} max_conns=1024 max_fails=5 fail_timeout=30s;
    keepalive 1024;
    keepalive_requests 1000000000;
    keepalive_timeout 60s;
  }
  server {
    listen 127.0.0.1:${port} backlog=4096;
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
  server {
    listen 127.0.0.1:${statusPort};
    location / { stub_status; }
  }`);
}
