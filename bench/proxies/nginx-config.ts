// What nginx needs in any role here: one worker, no logs, connections that stay open, nothing written outside the folder of the run.

export interface NginxOptions {
  /** That module and its block, for opaque TCP. */
  stream?: { module: string; block: string };
  /** At a time. */
  connections?: number;
}

export function nginxConfig(http: string, { stream, connections = 8192 }: NginxOptions = {}): string {
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']
    .map((what) => `  ${what}_temp_path ${what}_temp;`)
    .join('\n');
  return `
${stream ? `load_module ${stream.module};` : ''}
worker_processes 1;
worker_rlimit_nofile 16384;
daemon off;
pid nginx.pid;
error_log stderr error;
events { worker_connections ${connections}; }
http {
  access_log off;
  keepalive_timeout 600s;
  keepalive_requests 1000000000;
${temporary}
${http}
}
${stream?.block ?? ''}
`;
}
