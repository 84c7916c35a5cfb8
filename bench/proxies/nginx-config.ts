// What nginx needs in any role here: one worker, no logs, connections that stay open, nothing written outside the folder of the run.

/** `stream`: that module and its block, for opaque TCP. */
export function nginxConfig(http: string, stream?: { module: string; block: string }): string {
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
events { worker_connections 8192; }
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
