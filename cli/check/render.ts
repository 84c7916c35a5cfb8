// A report as text for people and as annotations of a pull request. Pure.
import { count, indented, printable } from '../output/layout.ts';
import type { Reader, Style } from '../output/paint.ts';
import type { CheckReport, Finding, Severity } from './report.ts';

const STYLES: Record<Severity, Style> = { error: 'red', warning: 'yellow', note: 'dim' };

/** Each finding in two parts: where, as editors and terminals find it; then what, and what to do. */
export function renderText(report: CheckReport, reader: Reader): string[] {
  const { findings, unchecked } = report;
  return [
    ...findings.flatMap((finding) => renderFinding(finding, reader)),
    ...unchecked.flatMap((what) =>
      indented(`not checked: ${what}`, 0, reader.columns).map((line) => reader.paint('dim', line)),
    ),
    ...indented(summary(report), 0, reader.columns).map((line) => reader.paint('bold', line)),
  ];
}

export function renderFinding(finding: Finding, { paint, columns }: Reader): string[] {
  const { severity, file, line, column, reason, message } = finding;
  const subject = subjectOf(finding);
  const head = `${paint('bold', printable(`${file}:${line}:${column}:`))} ${paint(STYLES[severity], severity)}${subject === '' ? '' : ` ${printable(subject)}`}`;
  return [head, ...indented(`${message} (${reason})`, 4, columns)];
}

/** "ServiceDependency shop/checkout spec.dependsOn[0].name" */
function subjectOf({ object, field }: Finding): string {
  const name =
    object === null ? '' : `${object.kind} ${object.name === '' ? '(no name)' : `${object.namespace}/${object.name}`}`;
  return [name, field].filter((part) => part !== '').join(' ');
}

function summary({ counts }: CheckReport): string {
  const { files, checked, considered, passedOver, errors, warnings, notes } = counts;
  const verdict = [
    ...(errors > 0 ? [count(errors, 'error')] : []),
    ...(warnings > 0 ? [count(warnings, 'warning')] : []),
    ...(notes > 0 ? [count(notes, 'note')] : []),
  ];
  const seen = [
    `${count(checked, 'object')} of Breakwater checked`,
    ...(considered > 0 ? [`${considered} beside them considered`] : []),
    ...(passedOver > 0 ? [`${passedOver} of other kinds passed over`] : []),
  ];
  return `${verdict.length === 0 ? 'no findings' : verdict.join(', ')} in ${count(files, 'file')}: ${seen.join(', ')}`;
}

const COMMANDS: Record<Severity, string> = { error: 'error', warning: 'warning', note: 'notice' };

/** Workflow commands of GitHub Actions: shown beside the lines of a pull request. */
export function renderGitHub({ findings }: CheckReport): string[] {
  return findings.map((finding) => {
    const { severity, file, line, column, reason, message } = finding;
    const subject = subjectOf(finding);
    const properties = { file, line: String(line), col: String(column), title: subject === '' ? reason : subject };
    const list = Object.entries(properties).map(([name, value]) => `${name}=${escapeProperty(value)}`);
    return `::${COMMANDS[severity]} ${list.join(',')}::${escapeData(`${message} (${reason})`)}`;
  });
}

const escapeData = (text: string) => text.replaceAll('%', '%25').replaceAll('\r', '%0D').replaceAll('\n', '%0A');
const escapeProperty = (text: string) => escapeData(text).replaceAll(':', '%3A').replaceAll(',', '%2C');
