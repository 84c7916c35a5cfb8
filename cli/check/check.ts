// Texts of manifests → everything that is wrong with them. Pure: the same verdict on every machine, without a cluster.
import { objectKey } from '../../operator/compile/objects.ts';
import { type Position, readManifests, type SourceObject } from '../manifests/document.ts';
import { identityOf, type ManifestWorld, worldOf } from '../manifests/world.ts';
import { identify, ownProblems } from './own-object.ts';
import type { CheckReport, Finding } from './report.ts';
import { checkTogether } from './together.ts';

export interface CheckOptions {
  /** Of objects that name none. */
  namespace: string;
}

export interface Checked {
  report: CheckReport;
  /** What the files describe, as far as it can be read; invalid objects of ours are among `invalid`. */
  manifests: ManifestWorld;
}

export function check(files: readonly { file: string; text: string }[], { namespace }: CheckOptions): Checked {
  const findings: Finding[] = [];
  const objects: SourceObject[] = [];
  let checked = 0;
  for (const { file, text } of files) {
    const read = readManifests(text, file);
    for (const { position, reason, message } of read.problems) {
      findings.push({
        severity: 'error',
        reason,
        message: message + templateHint(text, reason),
        file,
        ...position,
        object: null,
        field: '',
      });
    }
    for (const source of read.objects) {
      const identity = identify(source.raw);
      if (identity.is === 'other') objects.push(source);
      else if (identity.is === 'mistaken') findings.push(located(source, namespace, identity.problem));
      else {
        checked += 1;
        findings.push(...ownProblems(source.raw, identity.kind).map((problem) => located(source, namespace, problem)));
        if (objectKey(source.raw) !== undefined) objects.push(source);
      }
    }
  }
  const manifests = worldOf(objects, namespace);
  findings.push(...ofManifests(manifests, namespace));
  const together = checkTogether(manifests.world);
  for (const { kind, object, field, ...found } of together.findings) {
    const source = manifests.sources.get(identityOf(kind, object));
    if (source !== undefined) findings.push(located(source, namespace, { field, what: 'value', ...found }));
  }
  const sorted = inOrder(
    findings,
    files.map(({ file }) => file),
  );
  const { considered, passedOver } = manifests;
  const counted = { files: files.length, checked, considered, passedOver };
  return { report: reportOf(sorted, together.unchecked, counted), manifests };
}

function ofManifests({ unreadable, repeated }: ManifestWorld, namespace: string): Finding[] {
  return [
    ...unreadable.map(({ source, message }) =>
      located(source, namespace, { reason: 'Unreadable', field: '', what: 'value', message }),
    ),
    ...repeated.map(({ source, first }) =>
      located(source, namespace, {
        severity: 'warning',
        reason: 'Repeated',
        field: 'metadata.name',
        what: 'value',
        message: `this object is also at ${first.file}:${first.position.line}, and applying both leaves only this one; remove or rename one`,
      }),
    ),
  ];
}

type Unlocated = Pick<Finding, 'reason' | 'field' | 'message'> &
  Partial<Pick<Finding, 'severity'>> & {
    what: 'name' | 'value';
  };

function located(source: SourceObject, namespace: string, { what, severity = 'error', ...found }: Unlocated): Finding {
  const position: Position = found.field === '' ? source.position : source.positionOf(found.field, what);
  const { kind, metadata } = source.raw as {
    kind?: unknown;
    metadata?: { name?: unknown; namespace?: unknown } | null;
  };
  const name = metadata?.name;
  const object =
    typeof kind === 'string'
      ? {
          kind,
          namespace: typeof metadata?.namespace === 'string' ? metadata.namespace : namespace,
          name: typeof name === 'string' ? name : '',
        }
      : null;
  return {
    severity,
    reason: found.reason,
    message: found.message,
    file: source.file,
    ...position,
    object,
    field: found.field,
  };
}

/** A chart's template is no YAML until it is rendered. */
function templateHint(text: string, reason: string): string {
  return reason === 'NotYaml' && /\{\{.*\}\}/.test(text)
    ? '. A template? Check what it renders: helm template … | breakwater check -'
    : '';
}

function inOrder(findings: readonly Finding[], files: readonly string[]): Finding[] {
  const order = new Map(files.map((file, index) => [file, index]));
  return findings.toSorted(
    (a, b) => (order.get(a.file) ?? 0) - (order.get(b.file) ?? 0) || a.line - b.line || a.column - b.column,
  );
}

function reportOf(
  findings: readonly Finding[],
  unchecked: readonly string[],
  counted: Pick<CheckReport['counts'], 'files' | 'checked' | 'considered' | 'passedOver'>,
): CheckReport {
  const count = (severity: Finding['severity']) => findings.filter((one) => one.severity === severity).length;
  return {
    findings: [...findings],
    unchecked: [...unchecked],
    counts: { ...counted, errors: count('error'), warnings: count('warning'), notes: count('note') },
  };
}
