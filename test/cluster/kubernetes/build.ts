// Builds a real Kubernetes from its Go modules: etcd, API server, controllers, scheduler, kubelet, kube-proxy, containerd, CoreDNS,
// kubectl and helm; and, from Debian packages and npm's `node`, an image that stands in for docker.io/library/node:26-bookworm-slim.
// No container registry and no Docker engine is needed. Whatever is in the cache already is kept.
//   node test/cluster/kubernetes/build.ts        everything: about 20 minutes on two cores the first time, a second afterwards
//   node test/cluster/kubernetes/build.ts api    etcd, kube-apiserver, kubectl, readers of statuses: what tests of the operator need (about 7 minutes)
import { existsSync } from 'node:fs';
import { mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { withLock } from '../lock.ts';
import { run, succeeds } from '../shell.ts';
import { buildImages } from './base-images.ts';
import { type Cache, cacheLayout } from './layout.ts';

const KUBERNETES = '1.36.3';
// Kubernetes 1.X.Y publishes its libraries (k8s.io/api and the rest) as v0.X.Y.
const KUBERNETES_LIBRARIES = `v0${KUBERNETES.slice(1)}`;
const GO = '1.26.8';
const NEEDED_GO: readonly [number, number] = [1, 26];

const KUBERNETES_COMMANDS = ['kube-controller-manager', 'kube-scheduler', 'kubelet', 'kube-proxy'];
const CONTAINERD = 'github.com/containerd/containerd/v2';
const CONTAINERD_VERSION = 'v2.4.2';
const DEBIAN_PACKAGES = [
  'runc',
  'buildah',
  'debootstrap',
  'iptables',
  'iproute2',
  'containernetworking-plugins',
  'conntrack',
  'util-linux',
  'ca-certificates',
];

const KUBECTL_SOURCE = `package main

import (
	"k8s.io/component-base/cli"
	"k8s.io/kubectl/pkg/cmd"
	"k8s.io/kubectl/pkg/cmd/util"
)

func main() {
	if err := cli.RunNoErrOutput(cmd.NewDefaultKubectlCommand()); err != nil {
		util.CheckErr(err)
	}
}
`;

/** What readers of kstatus make of objects: the original, and the fork in helm and Flux. Objects in, results out, as JSON. */
const KSTATUS_MODULES = ['sigs.k8s.io/cli-utils@v0.37.2', 'github.com/fluxcd/cli-utils@v1.3.0'];
const KSTATUS_SOURCE = `package main

import (
	"encoding/json"
	"os"

	flux "github.com/fluxcd/cli-utils/pkg/kstatus/status"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/cli-utils/pkg/kstatus/status"
)

type verdict struct {
	Status  string \`json:"status"\`
	Message string \`json:"message"\`
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

func main() {
	var objects []json.RawMessage
	must(json.NewDecoder(os.Stdin).Decode(&objects))
	results := [][2]verdict{}
	for _, raw := range objects {
		object := &unstructured.Unstructured{}
		must(object.UnmarshalJSON(raw))
		original, err := status.Compute(object)
		must(err)
		fork, err := flux.Compute(object)
		must(err)
		results = append(results, [2]verdict{
			{string(original.Status), original.Message},
			{string(fork.Status), fork.Message},
		})
	}
	must(json.NewEncoder(os.Stdout).Encode(results))
}
`;

/** Runs a health check of Argo CD in the Lua that Argo CD runs it in: script and objects in, tables out, as JSON. */
const ARGO_MODULE = 'github.com/yuin/gopher-lua@v1.1.1';
const ARGO_SOURCE = `package main

import (
	"encoding/json"
	"os"

	lua "github.com/yuin/gopher-lua"
)

func must(err error) {
	if err != nil {
		panic(err)
	}
}

func toLua(state *lua.LState, value any) lua.LValue {
	switch it := value.(type) {
	case string:
		return lua.LString(it)
	case float64:
		return lua.LNumber(it)
	case bool:
		return lua.LBool(it)
	case []any:
		table := state.NewTable()
		for _, item := range it {
			table.Append(toLua(state, item))
		}
		return table
	case map[string]any:
		table := state.NewTable()
		for key, item := range it {
			table.RawSetString(key, toLua(state, item))
		}
		return table
	}
	return lua.LNil
}

func main() {
	var input struct {
		Script  string
		Objects []any
	}
	must(json.NewDecoder(os.Stdin).Decode(&input))
	results := []map[string]string{}
	for _, object := range input.Objects {
		state := lua.NewState()
		state.SetGlobal("obj", toLua(state, object))
		must(state.DoString(input.Script))
		result := map[string]string{}
		state.Get(-1).(*lua.LTable).ForEach(func(key, value lua.LValue) { result[key.String()] = value.String() })
		results = append(results, result)
	}
	must(json.NewEncoder(os.Stdout).Encode(results))
}
`;

type Log = (line: string) => void;

/** Installs those of the Debian packages that are missing. */
export async function ensureDebianPackages(packages: readonly string[], log: Log): Promise<void> {
  if (await succeeds('dpkg', ['-s', ...packages])) return;
  log(`installing Debian packages: ${packages.join(' ')}`);
  const env = { DEBIAN_FRONTEND: 'noninteractive' };
  await run('apt-get', ['update', '-qq'], { env });
  await run('apt-get', ['install', '-y', '-qq', '--no-install-recommends', ...packages], { env });
}

async function goVersion(go: string): Promise<readonly [number, number]> {
  const printed = await run(go, ['version'], { env: { GOTOOLCHAIN: 'local' } }).catch(() => '');
  const match = /go(\d+)\.(\d+)/.exec(printed);
  return match ? [Number(match[1]), Number(match[2])] : [0, 0];
}

/**
 * Path of a Go new enough for Kubernetes. Debian's own may be years older: every Go can then fetch the wanted one, which is published as
 * a Go module, whose files lose their executable bit on the way.
 */
async function findGo(log: Log): Promise<string> {
  const wanted = ([major, minor]: readonly [number, number]) =>
    major > NEEDED_GO[0] || (major === NEEDED_GO[0] && minor >= NEEDED_GO[1]);
  for (const candidate of ['go', '/usr/local/go/bin/go']) if (wanted(await goVersion(candidate))) return candidate;
  if (!(await succeeds('go', ['version']))) await ensureDebianPackages(['golang-go', 'git'], log);
  const platform = `linux-${process.arch === 'arm64' ? 'arm64' : 'amd64'}`;
  log(`fetching Go ${GO}`);
  const printed = await run('go', ['mod', 'download', '-json', `golang.org/toolchain@v0.0.1-go${GO}.${platform}`], {
    cwd: '/',
    env: { GOTOOLCHAIN: 'local', GOFLAGS: '' },
  });
  const { Dir: directory } = JSON.parse(printed) as { Dir: string };
  await run('chmod', ['-R', 'u+x', join(directory, 'bin'), join(directory, 'pkg', 'tool')]);
  return join(directory, 'bin', 'go');
}

class Builder {
  readonly #cache: Cache;
  readonly #log: Log;
  #go: string | undefined;

  constructor(cache: Cache, log: Log) {
    this.#cache = cache;
    this.#log = log;
  }

  async #runGo(directory: string, ...args: string[]): Promise<string> {
    this.#go ??= await findGo(this.#log);
    return run(this.#go, args, {
      cwd: directory,
      env: { CGO_ENABLED: '0', GOFLAGS: '-mod=mod', GOTOOLCHAIN: 'local' },
    });
  }

  async #build(name: string, directory: string, packagePath: string, flags: readonly string[]): Promise<void> {
    this.#log(`building ${name}`);
    // Under another name first, so that a build which is interrupted leaves nothing that looks finished.
    const output = join(this.#cache.bin, name);
    await this.#runGo(directory, 'build', '-trimpath', ...flags, '-o', `${output}.partial`, packagePath);
    await rename(`${output}.partial`, output);
  }

  /**
   * A module that needs Kubernetes itself. Inside its repository Kubernetes replaces its libraries by folders; whoever builds its commands
   * from outside has to name the published versions instead.
   */
  async #kubernetesModule(): Promise<string> {
    const directory = join(this.#cache.build, 'kubernetes');
    if (existsSync(join(directory, 'go.sum'))) return directory;
    await mkdir(join(directory, 'kubectl'), { recursive: true });
    const downloaded = await this.#runGo('/', 'mod', 'download', '-json', `k8s.io/kubernetes@v${KUBERNETES}`);
    const { GoMod: goMod } = JSON.parse(downloaded) as { GoMod: string };
    const libraries = [...(await readFile(goMod, 'utf8')).matchAll(/^\s+(k8s\.io\/\S+) => \.\/staging/gm)].map(
      (match) => match[1],
    );
    const replacements = libraries.map((library) => `\t${library} => ${library} ${KUBERNETES_LIBRARIES}`);
    await writeFile(
      join(directory, 'go.mod'),
      `module cluster\ngo 1.26\nrequire k8s.io/kubernetes v${KUBERNETES}\nreplace (\n${replacements.join('\n')}\n)\n`,
    );
    const imports = ['kube-apiserver', ...KUBERNETES_COMMANDS].map((command) => `_ "k8s.io/kubernetes/cmd/${command}"`);
    await writeFile(
      join(directory, 'tools.go'),
      `//go:build tools\npackage cluster\nimport (\n${imports.join('\n')}\n_ "k8s.io/kubectl/pkg/cmd"\n)\n`,
    );
    await writeFile(join(directory, 'kubectl', 'main.go'), KUBECTL_SOURCE);
    await this.#runGo(directory, 'mod', 'tidy');
    return directory;
  }

  async kubernetes(name: string, packagePath = `k8s.io/kubernetes/cmd/${name}`): Promise<void> {
    if (existsSync(join(this.#cache.bin, name))) return;
    const [major, minor] = KUBERNETES.split('.');
    const variables = { gitVersion: `v${KUBERNETES}`, gitMajor: major, gitMinor: minor };
    const stamps = Object.entries(variables).map(([key, value]) => `-X k8s.io/component-base/version.${key}=${value}`);
    await this.#build(name, await this.#kubernetesModule(), packagePath, ['-ldflags', `-s -w ${stamps.join(' ')}`]);
  }

  async tool(
    name: string,
    packagePath: string,
    module: string,
    version: string,
    flags: readonly string[] = [],
  ): Promise<void> {
    if (existsSync(join(this.#cache.bin, name))) return;
    const directory = join(this.#cache.build, module.replaceAll('/', '_'));
    await mkdir(directory, { recursive: true });
    if (!existsSync(join(directory, 'go.mod'))) await this.#runGo(directory, 'mod', 'init', 'tool');
    await this.#runGo(directory, 'get', `${packagePath}@${version}`);
    await this.#build(name, directory, packagePath, ['-ldflags', '-s -w', ...flags]);
  }

  /** A program of our own around modules of others. */
  async program(name: string, source: string, modules: readonly string[]): Promise<void> {
    if (existsSync(join(this.#cache.bin, name))) return;
    const directory = join(this.#cache.build, name);
    await mkdir(directory, { recursive: true });
    await writeFile(join(directory, 'main.go'), source);
    if (!existsSync(join(directory, 'go.mod'))) await this.#runGo(directory, 'mod', 'init', name);
    await this.#runGo(directory, 'get', ...modules);
    await this.#build(name, directory, '.', ['-ldflags', '-s -w']);
  }

  async compileStatic(directory: string, source: string, output: string): Promise<void> {
    await this.#runGo(directory, 'build', '-ldflags', '-s -w', '-o', output, source);
  }
}

async function buildApiServer(builder: Builder): Promise<void> {
  await builder.tool('etcd', 'go.etcd.io/etcd/server/v3', 'go.etcd.io/etcd/server/v3', 'v3.6.7');
  await builder.kubernetes('kube-apiserver');
  await builder.kubernetes('kubectl', './kubectl');
  await builder.program('kstatus', KSTATUS_SOURCE, KSTATUS_MODULES);
  await builder.program('argo-health', ARGO_SOURCE, [ARGO_MODULE]);
}

/** Builds what is missing: the API server and its tools alone, or the whole cluster. */
export async function buildKubernetes(
  scope: 'api' | 'all',
  log: Log = () => undefined,
  cache = cacheLayout(),
): Promise<void> {
  await mkdir(cache.bin, { recursive: true });
  await mkdir(cache.build, { recursive: true });
  const lock = join(cache.build, 'lock');
  await withLock(lock, 'it builds Kubernetes', log, () => buildMissing(scope, log, cache));
}

async function buildMissing(scope: 'api' | 'all', log: Log, cache: Cache): Promise<void> {
  const builder = new Builder(cache, log);
  await buildApiServer(builder);
  if (scope === 'api') return;
  await ensureDebianPackages(DEBIAN_PACKAGES, log);
  for (const command of KUBERNETES_COMMANDS) await builder.kubernetes(command);
  for (const command of ['containerd', 'containerd-shim-runc-v2', 'ctr']) {
    await builder.tool(command, `${CONTAINERD}/cmd/${command}`, `${CONTAINERD}/cmd/${command}`, CONTAINERD_VERSION, [
      '-tags',
      'no_btrfs no_devmapper no_zfs',
    ]);
  }
  await builder.tool('coredns', 'github.com/coredns/coredns', 'github.com/coredns/coredns', 'v1.15.0');
  await builder.tool('helm', 'helm.sh/helm/v3/cmd/helm', 'helm.sh/helm/v3/cmd/helm', 'v3.21.4');
  // Waits for custom resources by kstatus, where helm 3 takes them for ready.
  await builder.tool('helm4', 'helm.sh/helm/v4/cmd/helm', 'helm.sh/helm/v4/cmd/helm', 'v4.2.4');
  await buildImages(cache, log, (directory, source, output) => builder.compileStatic(directory, source, output));
}

if (import.meta.main) {
  const scope = process.argv[2] ?? 'all';
  if (scope !== 'all' && scope !== 'api') throw new Error(`build.ts: "${scope}" is neither "api" nor "all"`);
  await buildKubernetes(scope, (line) => console.error(line));
}
