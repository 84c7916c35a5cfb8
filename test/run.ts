// `npm test`: the project `unit` of vitest and, beside it, `api-server` and `control-plane` where a real kube-apiserver is on this machine or can
// be built here: each of them waits more than it computes. What cannot run is never passed over in silence, and is a failure where CI=true or
// BREAKWATER_REQUIRE_ALL=1. Arguments go to vitest: `npm test -- sidecar/policies`.
import { spawnSync } from 'node:child_process';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { CONTROL_PLANE, controlPlaneAvailable, controlPlaneBinaries } from './harness/control-plane.ts';
import { everythingRequired, root, runProgram, runProject } from './project.ts';
import { add, boxed } from './report.ts';

const filters = process.argv.slice(2);

/** vitest leaves one processor free, and on a machine with two would run file after file, which wait more than they compute. */
const UNIT_WORKERS = Math.max(2, availableParallelism() - 1);
const WITH_API_SERVER = ['api-server', 'control-plane'];

const hasGo = () => spawnSync('go', ['version'], { stdio: 'ignore' }).status === 0;

/** Why the tests against a real API server cannot run; empty where they can. Builds the server where Go is there to do it. */
async function prepareApiServer(): Promise<string[]> {
  if (controlPlaneAvailable()) return [];
  const missing = `Not all of ${CONTROL_PLANE.join(', ')} are in ${controlPlaneBinaries()},`;
  if (!hasGo()) return [missing, 'and no Go here to build it.'];
  const names = CONTROL_PLANE.join(', ');
  process.stderr.write(`building what is missing of ${names}: about 7 minutes, once for this machine …\n`);
  const code = await runProgram([join(root, 'test/cluster/kubernetes/build.ts'), 'api']);
  if (code === 0 && controlPlaneAvailable()) return [];
  return [missing, `and building it failed (exit code ${code}); what it said stands above.`];
}

const reasons = await prepareApiServer();
const beside =
  reasons.length === 0
    ? WITH_API_SERVER.map((project) => runProject(project, { workers: 1, filters, keepBack: true }))
    : [];
const ended = [await runProject('unit', { workers: UNIT_WORKERS, filters })];
for (const run of beside) {
  const it = await run;
  ended.push(it);
  process.stdout.write(it.output);
}
if (reasons.length > 0) {
  process.stdout.write(
    `\n${boxed([
      'NOT RUN: the tests against a real Kubernetes API server.',
      ...reasons,
      'With Go 1.26 installed, npm test builds it by itself.',
    ])}\n`,
  );
}

let totals = ended.map((it) => it.totals).reduce(add);
const incomplete = reasons.length > 0 || totals.skipped > 0;
if (totals.skipped > 0) process.stdout.write(`\n${totals.skipped} tests were skipped\n`);
if (incomplete && everythingRequired) {
  process.stdout.write(
    '\nEvery part is required here (CI=true or BREAKWATER_REQUIRE_ALL=1), so this run has failed.\n',
  );
  totals = add(totals, { passed: 0, failed: 1, skipped: 0 });
}
for (const name of ended.flatMap((it) => it.failed)) process.stdout.write(`failed: ${name}\n`);
process.stdout.write(`\n${totals.passed} passed, ${totals.failed} failed\n`);
process.exitCode = totals.failed === 0 ? 0 : 1;
