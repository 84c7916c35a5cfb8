// Certificates that a dependency names and that pods were not given: a pod has the volumes that it was started with.
import { certificateFiles, pathOfCertificate } from '../../plan/certificates.ts';
import type { CompiledDependency } from './dependencies.ts';
import { type Place, problem } from './problem.ts';
import { restartCommand } from './restart.ts';
import type { Problem } from './result.ts';
import type { WorldPod } from './world.ts';

/** `pods`: those that the ServiceDependency selects. One problem for each dependency whose calls fail in some of them. */
export function certificateProblems(
  place: Place,
  pods: readonly WorldPod[],
  dependencies: readonly CompiledDependency[],
): Problem[] {
  const present = pods.filter((pod) => pod.injected && !pod.terminating);
  return dependencies.flatMap(({ plan: { host }, field }) => {
    const files = host?.tls ? certificateFiles(host.tls) : [];
    const lacks = (pod: WorldPod) => (path: string) => pod.certificates?.has(path) === false;
    const paths = files.map(pathOfCertificate);
    const older = present.filter((pod) => paths.some(lacks(pod)));
    if (host === null || older.length === 0) return [];
    const lacking = files.filter((file) => older.some((pod) => lacks(pod)(pathOfCertificate(file))));
    const objects = [...new Set(lacking.map(({ object }) => `${object.kind} ${object.name}`))];
    const details = { count: older.length, of: present.length, host: host.name, objects };
    const at = { ...place, field: `${field}.host.tls` };
    return [problem('PodsPredateCertificates', at, { ...details, restart: restartCommand(older) })];
  });
}
