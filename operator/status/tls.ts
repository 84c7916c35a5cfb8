// TLS to hosts that is not as it should be, as problems of the ServiceDependency that declares them. Certificates that sidecars lack, or
// cannot use, are references that lead nowhere; what a host shows or refuses is told beside, for nothing in the object is wrong then.
import type { ServiceDependency } from '../../crds/service-dependency.ts';
import { problem } from '../compile/problem.ts';
import type { Problem } from '../compile/result.ts';
import { keyOf } from '../compile/world-index.ts';
import type { TlsSummary } from '../distribute/tls-reports.ts';
import type { StatusSubject } from './scope.ts';

/** Of policies and of what is invalid: nothing. */
export function reportedTls({ content }: StatusSubject, summaries: readonly TlsSummary[]): Problem[] {
  if (!('model' in content) || content.model.kind !== 'ServiceDependency') return [];
  return tlsProblems(content.model, summaries);
}

export function tlsProblems(model: ServiceDependency, summaries: readonly TlsSummary[]): Problem[] {
  const owner = keyOf(model.metadata);
  return summaries.flatMap(({ dependencyId, of, message, sidecars, totalSidecars }) => {
    const index = model.spec.dependsOn.findIndex((entry) => `${owner}/${entry.name}` === dependencyId);
    if (index < 0) return [];
    const place = { kind: model.kind, object: model.metadata, field: `spec.dependsOn[${index}].host.tls` };
    const details = { sidecars, of: Math.max(sidecars, totalSidecars), message };
    return [problem(of === 'certificates' ? 'InvalidCertificate' : 'TlsFails', place, details)];
  });
}
