// What becomes of each block: executed on this machine, executed on a cluster, compared with what was printed, validated. A block that is
// none of these stands in the table below with the reason; any other is an error of the page.
import type { Block } from './pages.ts';

export type Kind = 'machine' | 'cluster' | 'output' | 'file' | 'manifest' | 'exempt';

/** Where the commands of a page are typed: without a cluster by `npm test`, with one by the cluster tests; each block by itself where mixed. */
const PLACES: Readonly<Record<string, 'machine' | 'cluster' | 'mixed'>> = {
  'README.md': 'mixed',
  'docs/tutorial.md': 'cluster',
  'docs/tutorial-standalone.md': 'machine',
  'docs/concepts.md': 'mixed',
  'docs/operations.md': 'mixed',
  'docs/errors.md': 'mixed',
  'docs/cli.md': 'mixed',
};
const NEEDS_CLUSTER = /^\s*(kubectl|helm|kind|docker)\b/m;

export interface Exemption {
  page: string;
  /** What the block begins with. */
  begins: string;
  /** Why it is not executed, and what stands in for that. */
  reason: string;
}

export const EXEMPTIONS: readonly Exemption[] = [
  {
    page: 'README.md',
    begins: 'npm run demo',
    reason: 'test/standalone/demo.test.ts runs the demo, and npm test is what runs these tests',
  },
  {
    page: 'CONTRIBUTING.md',
    begins: 'npm ci',
    reason: 'npm test is what runs these tests; npm ci would replace what they run with',
  },
  {
    page: 'docs/benchmarks.md',
    begins: 'npm run bench',
    reason: 'takes minutes, and other proxies; bench/*.test.ts test its parts',
  },
  { page: 'docs/mutation.md', begins: 'npm run mutation', reason: 'takes an hour, and its result is the page' },
  { page: 'docs/benchmarks.md', begins: '{"case"', reason: 'a line of a measurement that takes minutes; it is JSON' },
  {
    page: 'docs/fallback.md',
    begins: 'HTTP/1.1 200 OK',
    reason: 'an answer during an outage; sidecar/proxy/exchange/fallback.test.ts reads such ones from its socket',
  },
  { page: 'test/cluster/README.md', begins: 'kind create cluster', reason: 'needs a Docker engine and a registry' },
  {
    page: 'docs/limits.md',
    begins: 'HTTP/1.1 429',
    reason: 'sidecar/proxy/exchange/limits.test.ts compares such an answer',
  },
  { page: 'CONTRIBUTING.md', begins: ' kubectl apply ─▶', reason: 'a drawing' },
  { page: 'docs/architecture.md', begins: ' kubectl apply  ', reason: 'a drawing' },
  { page: 'docs/architecture.md', begins: 'accepted ─▶', reason: 'a drawing' },
  { page: 'docs/architecture.md', begins: 'circuit, first look ─▶', reason: 'a drawing' },
];

export const exemptionOf = ({ page, text }: Block): Exemption | undefined =>
  EXEMPTIONS.find((one) => one.page === page && text.startsWith(one.begins));

/** Throws where the block is of no kind. */
export function kindOf(block: Block, blocks: readonly Block[]): Kind {
  if (exemptionOf(block)) return 'exempt';
  if (block.mark?.name === 'file') return 'file';
  if (block.language === 'yaml') return 'manifest';
  if (block.language === 'sh') {
    const place = PLACES[block.page];
    if (place === 'mixed') return NEEDS_CLUSTER.test(block.text) ? 'cluster' : 'machine';
    if (place !== undefined) return place;
  }
  if (['text', 'json', 'http'].includes(block.language) && commandsAbove(block, blocks) !== undefined) return 'output';
  throw new Error(
    `${block.page}:${block.line} is not tested: see test/docs/kinds.ts for the kinds that are, or name it there with the reason`,
  );
}

/** The commands whose output the block shows: those of the nearest block above it in the same section. */
export function commandsAbove(block: Block, blocks: readonly Block[]): Block | undefined {
  const above = blocks.filter(
    (one) => one.page === block.page && one.section === block.section && one.line < block.line,
  );
  return above.findLast(({ language }) => language === 'sh');
}
