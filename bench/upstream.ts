// The service behind the proxies: nginx, one worker, answers of a fixed size from memory.
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { freePorts, untilServing } from './loopback.ts';
import type { Processes, Program } from './processes.ts';
import { nginxConfig } from './proxies/nginx-config.ts';
import type { Tools } from './tools.ts';

export interface Upstream {
  port: number;
  /** Where it speaks HTTP/2, with prior knowledge, and nothing else. */
  http2Port: number;
  program: Program;
}

/**
 * /1k, /64k and /1m answer with so many bytes; /64k reads the whole request first, because an answer that comes before the end of a request is
 * another case, which proxies treat each in its own way. /unavailable answers 503, /cut nothing: the connection ends. /seen tells the
 * correlation ID that arrived.
 */
export async function startUpstream(
  processes: Processes,
  tools: Tools,
  folder: string,
  cpu: number,
): Promise<Upstream> {
  const [port = 0, http2Port = 0, answersPort = 0] = await freePorts(3);
  const home = join(folder, 'upstream');
  await mkdir(home, { recursive: true });
  const file = join(home, 'nginx.conf');
  await writeFile(file, upstreamConfig(port, http2Port, answersPort));
  const program = processes.start(cpu, tools.nginx, ['-p', home, '-c', file]);
  await Promise.race([untilServing(port, '/64k'), program.failed]);
  return { port, http2Port, program };
}

function upstreamConfig(port: number, http2Port: number, answersPort: number): string {
  const kilobyte = 'x'.repeat(1024);
  // nginx reads no word of 64 KB from its configuration; it puts variables together instead.
  const answer64k = '$kilobyte'.repeat(64);
  return nginxConfig(`
  upstream answers { server 127.0.0.1:${answersPort}; keepalive 600; keepalive_requests 1000000000; }
  server {
    listen 127.0.0.1:${port} backlog=4096;
    listen 127.0.0.1:${http2Port} http2 backlog=4096;
    default_type text/plain;
    location /1k { return 200 "${kilobyte}"; }
    location /unavailable { return 503; }
    location /cut { return 444; }
    location /1m {
      set $kilobyte "${kilobyte}";
      set $answer64k "${answer64k}";
      return 200 "${'$answer64k'.repeat(16)}";
    }
    location /seen { return 200 "$http_x_correlation_id$http_x_request_id"; }
    location /64k {
      client_body_buffer_size 128k;
      proxy_pass http://answers;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_set_header Content-Length "";
      proxy_pass_request_body off;
      proxy_method GET;
      proxy_buffers 16 16k;
      proxy_max_temp_file_size 0;
    }
  }
  server {
    listen 127.0.0.1:${answersPort} backlog=4096;
    default_type text/plain;
    location / { set $kilobyte "${kilobyte}"; return 200 "${answer64k}"; }
  }`);
}
