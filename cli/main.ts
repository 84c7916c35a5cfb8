// The command line. Each command loads its own part: `sidecar` starts without the compiler, `standalone` without the demo.
import { readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { Command, CommanderError, Option } from 'commander';
import { EnvironmentError } from '../runtime/environment.ts';
import type { LogLevel } from '../runtime/log.ts';
import { exitOf, projectRoot, startFollowingChild } from './following-child.ts';
import { UsageError } from './usage-error.ts';

const LOG_LEVELS: readonly LogLevel[] = ['debug', 'info', 'warn', 'error', 'silent'];

function version(): string {
  const { version: ours } = JSON.parse(readFileSync(join(projectRoot, 'package.json'), 'utf8')) as { version: string };
  return ours;
}

function createProgram(): Command {
  const program = new Command('breakwater')
    .description('Resilience for Kubernetes services, declared and enforced outside their code.')
    .version(version(), '--version', 'print the version')
    .helpOption('--help', 'print this help')
    .showHelpAfterError('("breakwater --help" says more)')
    .exitOverride();
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
    .addHelpText(
      'after',
      '\nPrints one line of JSON when everything is ready, follows changes of the folder, and runs until SIGTERM or SIGINT.',
    )
    .action(async (folder: string, options: { logLevel: LogLevel }) => {
      const { checkFolder } = await import('./standalone/check-folder.ts');
      for (const warning of await checkFolder(resolve(folder))) process.stderr.write(`warning: ${warning}\n`);
      const { runStandalone } = await import('./standalone/run.ts');
      const onReady = (line: object) => process.stdout.write(`${JSON.stringify(line)}\n`);
      await runStandalone({ folder: resolve(folder), logLevel: options.logLevel, onReady });
      process.exit(0);
    });
  program
    .command('demo')
    .description('a small shop, one failing service, with Breakwater and without')
    .addOption(new Option('--output <form>', 'what to end with').choices(['text', 'json']).default('text'))
    .option('--no-color', 'no colours (as does the variable NO_COLOR)')
    .action(async (options: { output: 'text' | 'json'; color: boolean }) => {
      const { runDemo } = await import('./demo/run.ts');
      process.exit(await runDemo({ output: options.output, colour: options.color }));
    });
  for (const [name, script, description] of [
    ['operator', 'operator/main.ts', 'run the operator, configured by its environment (in a cluster)'],
    ['sidecar', 'sidecar/main.ts', 'run the sidecar, configured by its environment (in a pod)'],
  ] as const) {
    program
      .command(name)
      .description(description)
      .argument('[arguments...]')
      .allowUnknownOption()
      .helpOption(false)
      .action(async (args: string[]) => process.exit(await passThrough(script, args)));
  }
  return program;
}

/** Runs another entry of the project as this process would run it. Resolves to its exit code. */
async function passThrough(script: string, args: readonly string[]): Promise<number> {
  const child = startFollowingChild(script, args, { output: 'inherit' });
  for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) process.on(signal, () => child.kill(signal));
  const { code } = await exitOf(child);
  return code ?? 1;
}

try {
  await createProgram().parseAsync();
} catch (error) {
  if (error instanceof CommanderError) process.exit(error.exitCode);
  if (error instanceof UsageError || error instanceof EnvironmentError) process.stderr.write(`${error.message}\n`);
  else
    process.stderr.write(
      `breakwater failed: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`,
    );
  process.exit(1);
}
