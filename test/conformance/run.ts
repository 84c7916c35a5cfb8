// `npm run test:conformance`: the sidecar against programs that others trust; the project `conformance` of vitest. What it needs is installed or
// built first (parts.ts). What cannot run is never passed over in silence, and is a failure where CI=true or BREAKWATER_REQUIRE_ALL=1.
// Arguments go to vitest: `npm run test:conformance -- garden`.
import { everythingRequired, runProject } from '../project.ts';
import { add, boxed } from '../report.ts';
import { findPart, PARTS, type PartName, preparePart } from './parts.ts';

const missing: string[] = [];
for (const name of Object.keys(PARTS) as PartName[]) {
  if (findPart(name) !== null) continue;
  process.stderr.write(`getting ${name} …\n`);
  const problem = preparePart(name);
  if (problem !== '' || findPart(name) === null)
    missing.push(`${name}: ${problem || 'it was installed, and is nowhere'}`);
}

const { totals, failed } = await runProject('conformance', { workers: 1, filters: process.argv.slice(2) });
if (missing.length > 0) process.stdout.write(`\n${boxed(['NOT RUN: the tests that need', ...missing])}\n`);
if (totals.skipped > 0) process.stdout.write(`\n${totals.skipped} tests were skipped\n`);
let all = totals;
if (everythingRequired && (missing.length > 0 || totals.skipped > 0)) {
  process.stdout.write(
    '\nEvery part is required here (CI=true or BREAKWATER_REQUIRE_ALL=1), so this run has failed.\n',
  );
  all = add(all, { passed: 0, failed: 1, skipped: 0 });
}
for (const name of failed) process.stdout.write(`failed: ${name}\n`);
process.stdout.write(`\n${all.passed} passed, ${all.failed} failed\n`);
process.exitCode = all.failed === 0 ? 0 : 1;
