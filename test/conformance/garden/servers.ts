// Real servers, each with a reader of requests of its own, that tell every request they have seen. They listen on 127.0.0.1 and keep
// connections open for long, so that a request that was left behind on one of them meets the next.
import { spawn, spawnSync } from 'node:child_process';
import { chmodSync, closeSync, copyFileSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import net from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { freePorts } from '../../../sidecar/proxy/testing/upstreams.ts';
import { temporaryFolder } from '../../harness/temporary-folder.ts';
import { type PartName, partPath } from '../parts.ts';

/** A request as the server read it; what it could not read is empty. */
export interface SeenByServer {
  method: string;
  target: string;
  /** Bytes of content. */
  length: number;
  /** X-Correlation-ID, which the sidecar adds to all that it forwards. */
  id: string;
  /** It was read to its end, and taken. */
  complete: boolean;
}

export interface ServerKind {
  readonly name: string;
  readonly needs: readonly PartName[];
  /** It may answer, and tell, what it has not read to its end. */
  readonly answersEarly?: true;
  /** What listens at the first of the ports; another one is there for whom it helps. `home`: a folder of its own. */
  command(ports: readonly number[], home: string): readonly string[];
  /** A line of what it tells. */
  read(line: string): SeenByServer;
}

export interface GardenServer {
  readonly kind: ServerKind;
  readonly port: number;
  /** All that it has told so far. */
  seen(): readonly SeenByServer[];
  /** What it had to complain about. */
  complaints(): string;
  close(): Promise<void>;
}

const source = (name: string) => join(import.meta.dirname, 'servers', name);
const readJson = (line: string) => JSON.parse(line) as SeenByServer;

interface LogLine {
  method: string;
  target: string;
  length: string;
  id: string;
  status: number;
}

/** A line of an access log, where an absent value is "-". */
function readLog(line: string): SeenByServer {
  const told = JSON.parse(line.replace(/\\x(?=[0-9a-f]{2})/gi, '\\u00')) as LogLine;
  const present = (value: string) => (value === '-' ? '' : value);
  return {
    method: present(told.method),
    target: present(told.target),
    length: Number(present(told.length) || 0),
    id: present(told.id),
    complete: told.status === 200,
  };
}

const nginx: ServerKind = {
  name: 'nginx',
  needs: ['nginx'],
  command([port, behind], home) {
    // A content that nobody wants is not read: the second server wants it.
    const config = `
daemon off;
master_process off;
pid ${home}/pid;
error_log ${home}/errors;
events {}
http {
  log_format garden escape=json
    '{"method":"$request_method","target":"$request_uri","body":"$request_body","id":"$http_x_correlation_id","status":$status}';
  access_log /dev/stdout garden;
  client_body_buffer_size 1m;
  client_body_temp_path ${home}/body;
  proxy_temp_path ${home}/proxy;
  fastcgi_temp_path ${home}/fastcgi;
  uwsgi_temp_path ${home}/uwsgi;
  scgi_temp_path ${home}/scgi;
  keepalive_timeout 60s;
  keepalive_requests 1000000;
  server { listen 127.0.0.1:${port}; location / { add_header X-Seen $request_uri; proxy_pass http://127.0.0.1:${behind}; } }
  server { listen 127.0.0.1:${behind}; access_log off; location / { return 200 "seen\\n"; } }
}`;
    writeFileSync(join(home, 'nginx.conf'), config);
    return [partPath('nginx'), '-p', home, '-e', `${home}/errors`, '-c', `${home}/nginx.conf`];
  },
  read(line) {
    const { body, ...told } = JSON.parse(line) as Omit<LogLine, 'length'> & { body: string };
    return { ...told, length: Buffer.byteLength(body, 'latin1'), complete: told.status === 200 };
  },
};

const haproxy: ServerKind = {
  name: 'HAProxy',
  needs: ['haproxy'],
  // It waits for content as long as there is hope, and answers then in any case.
  answersEarly: true,
  command([port], home) {
    const config = `
global
  log stdout len 32768 format raw local0
defaults
  mode http
  timeout client 60s
  timeout http-keep-alive 60s
frontend garden
  bind 127.0.0.1:${port}
  option http-buffer-request
  option dontlognull
  log global
  http-request set-var(txn.target) url
  http-request set-var(txn.length) req.body_len
  http-request set-var(txn.id) req.hdr(x-correlation-id)
  log-format '{"method":"%HM","target":"%[var(txn.target),json(utf8s)]","length":"%[var(txn.length)]","id":"%[var(txn.id),json(utf8s)]","status":%ST}'
  http-request return status 200 content-type text/plain hdr X-Seen "%[url]" string "seen\\n"
`;
    writeFileSync(join(home, 'haproxy.cfg'), config);
    return [partPath('haproxy'), '-db', '-f', join(home, 'haproxy.cfg')];
  },
  read: readLog,
};

const apache: ServerKind = {
  name: 'Apache httpd',
  needs: ['apache2'],
  command([port], home) {
    const modules = ['mpm_event', 'authz_core', 'alias', 'cgi'];
    const config = `
ServerRoot ${home}
DefaultRuntimeDir ${home}
ServerName garden.test
PidFile ${home}/pid
Listen 127.0.0.1:${port}
${modules.map((name) => `LoadModule ${name}_module /usr/lib/apache2/modules/mod_${name}.so`).join('\n')}
User www-data
Group www-data
StartServers 1
ServerLimit 1
ThreadsPerChild 25
MaxRequestWorkers 25
KeepAliveTimeout 60
MaxKeepAliveRequests 0
AllowEncodedSlashes NoDecode
ErrorLog ${home}/errors
LogFormat "{\\"method\\":\\"%m\\",\\"target\\":\\"%r\\",\\"length\\":\\"%{X-Length}o\\",\\"id\\":\\"%{X-Correlation-ID}i\\",\\"status\\":%>s}" garden
CustomLog /dev/stdout garden
ScriptAliasMatch ^ ${home}/length.cgi
`;
    writeFileSync(join(home, 'apache.conf'), config);
    copyFileSync(source('length.cgi'), join(home, 'length.cgi'));
    // It becomes another user.
    chmodSync(home, 0o755);
    return [partPath('apache2'), '-X', '-f', join(home, 'apache.conf')];
  },
  read(line) {
    const told = readLog(line);
    // What it shows is the request line.
    return { ...told, target: told.target.split(' ')[1] ?? '' };
  },
};

export const NODE: ServerKind = {
  name: 'Node',
  needs: [],
  command: ([port]) => [process.execPath, source('server.mjs'), String(port)],
  read: readJson,
};

/** Those that `npm test` has on nearly every machine. */
export const RUNTIMES: readonly ServerKind[] = [
  NODE,
  {
    name: 'Go',
    needs: ['go'],
    command([port], home) {
      const built = spawnSync(partPath('go'), ['build', '-o', join(home, 'server'), source('server.go')], {
        encoding: 'utf8',
        env: { ...process.env, CGO_ENABLED: '0', GOFLAGS: '' },
      });
      if (built.status !== 0) throw new Error(`the server in Go was not built: ${built.stderr}`);
      return [join(home, 'server'), String(port)];
    },
    read: readJson,
  },
  {
    name: 'Python',
    needs: ['python3'],
    command: ([port]) => [partPath('python3'), source('server.py'), String(port)],
    read: readJson,
  },
];

export const SERVERS: readonly ServerKind[] = [nginx, haproxy, apache, ...RUNTIMES];

async function answers(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = net.connect(port, '127.0.0.1');
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => resolve(false));
  });
}

export async function startServer(kind: ServerKind): Promise<GardenServer> {
  const home = temporaryFolder('garden');
  const ports = await freePorts(2);
  const [program = '', ...args] = kind.command(ports, home);
  const outputFile = join(home, 'output');
  const complaintFile = join(home, 'complaints');
  // A file and no pipe: some open /dev/stdout anew.
  const files = [openSync(outputFile, 'a'), openSync(complaintFile, 'a')] as const;
  const child = spawn(program, args, { stdio: ['ignore', ...files] });
  for (const file of files) closeSync(file);
  const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  const complaints = () => readFileSync(complaintFile, 'utf8');
  const close = async () => {
    child.kill('SIGKILL');
    await ended;
    rmSync(home, { recursive: true, force: true });
  };
  for (let tries = 0; !(await answers(ports[0] ?? 0)); tries++) {
    if (tries === 500 || child.exitCode !== null) {
      const reason = complaints();
      await close();
      throw new Error(`${kind.name} does not listen: ${reason}`);
    }
    await sleep(20);
  }
  let seen: SeenByServer[] = [];
  let read = 0;
  return {
    kind,
    port: ports[0] ?? 0,
    seen() {
      const output = readFileSync(outputFile, 'latin1');
      const end = output.lastIndexOf('\n') + 1;
      const lines = output
        .slice(read, end)
        .split('\n')
        .filter((line) => line.startsWith('{'));
      if (lines.length > 0) seen = [...seen, ...lines.map((line) => kind.read(line))];
      read = end;
      return seen;
    },
    complaints,
    close,
  };
}
