// `npm run storms`: measures the five outages under each protection and writes the pictures and the table of docs/storms.md. All of it is virtual
// time and drawn from one seed, so that the same code gives the same pictures.
import { readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { measure, PROTECTIONS, type Second } from './measure.ts';
import { OUTAGES, type Outage } from './outages.ts';
import { type Measured, picture } from './picture.ts';

const DOCS = resolve(import.meta.dirname, '../../docs');
const [BEGIN, END] = ['<!-- measured by npm run storms -->', '<!-- end -->'];

function row({ title }: Outage, measured: Measured): string {
  const cells = PROTECTIONS.map((name) => {
    const seconds = measured[name];
    const sum = (of: (second: Second) => number) => seconds.reduce((total, second) => total + of(second), 0);
    const all = sum(({ answered, refused, failed }) => answered + refused + failed);
    const percent = (of: (second: Second) => number) => ((100 * sum(of)) / all).toFixed(1);
    const refused = sum((second) => second.refused) > 0 ? `, ${percent((second) => second.refused)} refused` : '';
    return `${percent(({ answered }) => answered)} %${refused}; ${(sum(({ reached }) => reached) / all).toFixed(2)}`;
  });
  return `| ${title.split(':')[0]} | ${cells.join(' | ')} |`;
}

const rows: string[] = [];
for (const outage of OUTAGES) {
  const measured: Measured = {
    library: await measure(outage, 'library'),
    envoy: await measure(outage, 'envoy'),
    breakwater: await measure(outage, 'breakwater'),
  };
  writeFileSync(join(DOCS, 'pictures', `storm-${outage.name}.svg`), picture(outage, measured, outage.title));
  rows.push(row(outage, measured));
  process.stdout.write(`${rows.at(-1)}\n`);
}
const file = join(DOCS, 'storms.md');
const page = readFileSync(file, 'utf8');
const [begin, end] = [page.indexOf(BEGIN), page.indexOf(END)];
if (begin < 0 || end < begin)
  throw new Error(`${file} has no place for the table: write ${BEGIN} and ${END} on lines of their own`);
const head = '| outage | without protection | Envoy | Breakwater |\n|---|---|---|---|';
writeFileSync(file, `${page.slice(0, begin)}${BEGIN}\n${head}\n${rows.join('\n')}\n${page.slice(end)}`);
