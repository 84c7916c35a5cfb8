// The commands, their arguments and options: the one list from which help, completion and reference are made. Each command loads its own
// part when it runs: `sidecar` starts without the compiler, `standalone` without the demo.
import { readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { Argument, Command, Option } from 'commander';
import type { LogLevel } from '../runtime/log.ts';
import type { CheckCommandOptions } from './check/command.ts';
import { type Completion, complete, completionLines, DIRECTIVES, type ValueSource } from './completion/complete.ts';
import { INSTALLATION, SCRIPTS, SHELLS, type Shell } from './completion/scripts.ts';
import type { ExplainCommandOptions } from './explain/command.ts';
import { WORKLOAD_KINDS } from './explain/target.ts';
import { exitOf, projectRoot, startFollowingChild } from './following-child.ts';
import type { InjectCommandOptions } from './inject/command.ts';
import { wrap } from './output/layout.ts';
import { readerOf } from './output/paint.ts';
import type { Streams } from './output/streams.ts';

const LOG_LEVELS: readonly LogLevel[] = ['debug', 'info', 'warn', 'error', 'silent'];

export interface Program {
  command: Command;
  /** What the command that ran ended with. */
  exitCode: () => number;
}

/** `name` is what the user typed: "breakwater", or "kubectl breakwater". */
export function createProgram(name: string, streams: Streams): Program {
  let exitCode = 0;
  const ends = (code: number) => {
    exitCode = code;
  };
  const command = new Command(name)
    .description('Resilience for Kubernetes services, declared and enforced outside their code.')
    .version(version(), '--version', 'print the version')
    .helpOption('--help', 'print this help')
    .helpCommand(false)
    .configureHelp({ subcommandTerm: (one) => one.name() })
    .showHelpAfterError(`("${name} --help" lists the commands)`)
    .showSuggestionAfterError()
    .configureOutput({
      writeOut: (text) => streams.stdout.write(text),
      writeErr: (text) => streams.stderr.write(text),
      getOutHelpWidth: () => widthOf(streams.stdout),
      getErrHelpWidth: () => widthOf(streams.stderr),
    })
    .exitOverride();
  addCheck(command, streams, ends);
  addExplain(command, streams, ends);
  addInject(command, streams, ends);
  addStandalone(command, streams, ends);
  addDemo(command);
  addCompletion(command, streams);
  addVersion(command, streams);
  addParts(command);
  for (const one of command.commands) one.showHelpAfterError(`("${name} ${one.name()} --help" says more)`);
  return { command, exitCode: () => exitCode };
}

const HELP_COLUMNS = 80;
const widthOf = (stream: NodeJS.WritableStream): number => readerOf(stream).columns ?? HELP_COLUMNS;

/** What stands below the help of a command; each line of the text is a paragraph. */
const notes = (text: string): string =>
  `\n${text
    .split('\n')
    .flatMap((line) => wrap(line, HELP_COLUMNS))
    .join('\n')}`;

type Ends = (code: number) => void;

function addCheck(program: Command, streams: Streams, ends: Ends): void {
  program
    .command('check')
    .description('check manifests offline, as the API server and the operator would')
    .argument('<paths...>', 'files, folders (*.yaml, *.yml, *.json in them and below), or - for standard input')
    .option('-n, --namespace <name>', 'namespace of objects that name none', 'default')
    .option('--strict', 'let warnings fail the check too')
    .addOption(
      new Option('-o, --output <form>', 'how to print findings').choices(['text', 'json', 'github']).default('text'),
    )
    .addHelpText(
      'after',
      notes('Exit codes: 0 nothing to put right, 1 findings, 2 wrong usage or something that cannot be read.'),
    )
    .action(async (paths: string[], options: CheckCommandOptions) => {
      const { runCheck } = await import('./check/command.ts');
      ends(await runCheck(paths, options, streams));
    });
}

function addExplain(program: Command, streams: Streams, ends: Ends): void {
  const command = program
    .command('explain')
    .description('say what is enforced for a call, and which resource each value came from')
    .argument('<workload>', 'who calls: deploy/checkout, pod/checkout-0, sdep/checkout, …')
    .argument('[dependency]', 'whom: an entry of dependsOn, host:port or a URL; all of them where absent')
    .option('--method <method>', 'method of the request')
    .option('--path <path>', 'path of the request')
    .option('--header <header>', 'header of the request, as "x-canary: yes"; may be given again', repeated)
    .option(
      '-f, --filename <path>',
      'look at a file, a folder or - in place of a cluster; may be given again',
      repeated,
    )
    .addOption(new Option('-o, --output <form>', 'how to print it').choices(['text', 'json']).default('text'));
  addClusterOptions(command)
    .addHelpText(
      'after',
      notes(`Without --method, --path and --header: what holds for requests that match no rule, and all rules.`),
    )
    .action(async (workload: string, dependency: string | undefined, options: ExplainCommandOptions) => {
      const { runExplain } = await import('./explain/command.ts');
      ends(await runExplain(workload, dependency, options, streams));
    });
}

function addInject(program: Command, streams: Streams, ends: Ends): void {
  const command = program
    .command('inject')
    .description('print manifests with sidecars in them, as the webhook would add them')
    .argument('<paths...>', 'files, folders or - with workloads; what else is in them is printed as it is')
    .option('--strict', 'print nothing where a workload is skipped, or calls that it declares are not captured')
    .option('--ca-bundle-file <file>', 'certificates of the operator (PEM); with it no cluster is asked')
    .option('--values <file>', 'values of the chart, with --ca-bundle-file')
    .option('--operator-url <url>', 'where sidecars find the operator, with --ca-bundle-file');
  addClusterOptions(command)
    .addHelpText(
      'after',
      notes(
        'Without --ca-bundle-file the installation, and what pods need to know of Services, is read from the cluster.\nWhat became of each workload is told on standard error.',
      ),
    )
    .action(async (paths: string[], options: InjectCommandOptions) => {
      const { runInject } = await import('./inject/command.ts');
      ends(await runInject(paths, options, streams));
    });
}

/** Each time that the option is given adds one, as with kubectl; a list after one flag would take the arguments too. */
const repeated = (value: string, before: readonly string[] = []): readonly string[] => [...before, value];

/** As kubectl has them. */
function addClusterOptions(command: Command): Command {
  return command
    .option('-n, --namespace <name>', 'namespace; by default that of the context')
    .option('--context <name>', 'context of the kubeconfig')
    .option('--kubeconfig <file>', 'kubeconfig; by default what kubectl takes');
}

function addStandalone(program: Command, streams: Streams, ends: Ends): void {
  program
    .command('standalone')
    .description('run operator and sidecars as plain processes from a folder of Kubernetes manifests')
    .argument(
      '<folder>',
      'manifests: Services, EndpointSlices, Pods, ServiceDependencies, ResiliencePolicies (*.yaml, *.yml, *.json)',
    )
    .addOption(
      new Option('--log-level <level>', 'what is logged to standard error').choices(LOG_LEVELS).default('info'),
    )
    // For the bench, which measures what users run in a cluster.
    .addOption(new Option('--sidecar-bundle <file>', 'the sidecar as its image holds it').hideHelp())
    .addHelpText(
      'after',
      notes(
        'Prints one line of JSON when everything is ready, follows changes of the folder, and runs until SIGTERM or SIGINT.',
      ),
    )
    .action(async (folder: string, options: { logLevel: LogLevel; sidecarBundle?: string }) => {
      const { checkFolder } = await import('./standalone/check-folder.ts');
      if (!(await checkFolder(folder, streams))) return ends(1);
      const { runStandalone } = await import('./standalone/run.ts');
      const onReady = (line: object) => process.stdout.write(`${JSON.stringify(line)}\n`);
      const { logLevel, sidecarBundle } = options;
      const bundle = sidecarBundle === undefined ? null : resolve(sidecarBundle);
      await runStandalone({ folder: resolve(folder), logLevel, sidecarBundle: bundle, onReady });
      process.exit(0);
    });
}

function addDemo(program: Command): void {
  program
    .command('demo')
    .description('a small shop, one failing service, with Breakwater and without')
    .addOption(new Option('-o, --output <form>', 'what to end with').choices(['text', 'json']).default('text'))
    .option('--no-color', 'no colours (as does the variable NO_COLOR)')
    .action(async (options: { output: 'text' | 'json'; color: boolean }) => {
      const { runDemo } = await import('./demo/run.ts');
      process.exit(await runDemo({ output: options.output, colour: options.color }));
    });
}

function addCompletion(program: Command, streams: Streams): void {
  program
    .command('completion')
    .description('print the script that makes a shell complete this command')
    .addArgument(new Argument('<shell>', 'which shell').choices(SHELLS))
    .addHelpText(
      'after',
      notes(
        `${SHELLS.map((shell) => INSTALLATION[shell]).join('\n')}\n\nkubectl completes "kubectl breakwater" where kubectl_complete-breakwater is in the PATH.`,
      ),
    )
    .action((shell: Shell) => {
      streams.stdout.write(SCRIPTS[shell]);
    });
}

const MANIFEST_FILES: Completion = {
  candidates: ['yaml', 'yml', 'json'].map((value) => ({ value, description: '' })),
  directive: DIRECTIVES.fileEndings,
};
const WORKLOADS: Completion = {
  candidates: WORKLOAD_KINDS.map(({ kind, shortNames }) => ({
    value: `${shortNames[0] ?? kind.toLowerCase()}/`,
    description: kind,
  })),
  directive: DIRECTIVES.noSpace | DIRECTIVES.noFiles,
};

/** What stands for arguments and options, by their names. */
const VALUE_SOURCES: readonly ValueSource[] = [
  { names: ['paths', 'filename', 'values'], completion: MANIFEST_FILES },
  { names: ['folder'], completion: { candidates: [], directive: DIRECTIVES.folders } },
  { names: ['kubeconfig', 'caBundleFile'], completion: { candidates: [], directive: 0 } },
  { names: ['workload'], completion: WORKLOADS },
];

/** What may follow the words of a command line that is being written: lines for a shell's script, or for kubectl. */
export function completionOf(program: Command, words: readonly string[]): string[] {
  return completionLines(complete(program, words, VALUE_SOURCES));
}

function addVersion(program: Command, streams: Streams): void {
  program
    .command('version')
    .description('print the version of this command')
    .addOption(new Option('-o, --output <form>', 'how to print it').choices(['text', 'json']).default('text'))
    .action(({ output }: { output: 'text' | 'json' }) => {
      const facts = { version: version(), node: process.versions.node };
      streams.stdout.write(
        output === 'json' ? `${JSON.stringify(facts)}\n` : `breakwater ${facts.version} (Node ${facts.node})\n`,
      );
    });
}

/** The processes of an installation, as they run in their containers. */
function addParts(program: Command): void {
  program
    .command('operator')
    .description('run the operator, configured by its environment (in a cluster)')
    .addHelpText(
      'after',
      notes(
        'The chart sets its environment: charts/breakwater/templates/deployment.yaml. Without a cluster, "standalone" runs the operator and its sidecars from a folder.',
      ),
    )
    .action(async () => process.exit(await passThrough('operator/main.ts', [])));
  // Its own commands, and so its own help.
  program
    .command('sidecar')
    .description('run the sidecar, configured by its environment (in a pod)')
    .argument('[arguments...]')
    .allowUnknownOption()
    .helpOption(false)
    .action(async (args: string[]) => process.exit(await passThrough('sidecar/main.ts', args)));
}

function version(): string {
  const { version: ours } = JSON.parse(readFileSync(join(projectRoot, 'package.json'), 'utf8')) as { version: string };
  return ours;
}

/** Runs another entry of the project as this process would run it. Resolves to its exit code. */
async function passThrough(script: string, args: readonly string[]): Promise<number> {
  const child = startFollowingChild(script, args, { output: 'inherit' });
  for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) process.on(signal, () => child.kill(signal));
  const { code } = await exitOf(child);
  return code ?? 1;
}
