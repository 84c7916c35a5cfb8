// The pages of the documentation as the tests see them: fenced blocks in page order, each with its heading and what an HTML comment on the
// line above says of it. Readers do not see these comments:
//
//   <!-- file: payments.mjs -->    the block is saved as that file
//   <!-- terminal: payments -->    commands that go on in a terminal of their own; or output that appears there
//   <!-- fails -->                 one of the commands is meant to fail
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { readText, root } from '../examples.ts';

export interface Block {
  page: string;
  /** Of its first line within the fence. */
  line: number;
  /** The nearest heading above it. */
  section: string;
  language: string;
  text: string;
  mark: { name: string; value: string } | undefined;
}

/** All pages, as paths from the root, in order. */
export const pages: readonly string[] = [
  ...readdirSync(root).filter((name) => name.endsWith('.md')),
  ...readdirSync(join(root, 'docs'), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.md'))
    .map((name) => join('docs', name)),
  'test/cluster/README.md',
].sort();

export function blocksOf(page: string, text: string): Block[] {
  const blocks: Block[] = [];
  const lines = text.split('\n');
  let section = '';
  for (let index = 0; index < lines.length; index++) {
    const line = lines[index] ?? '';
    section = /^#+ (.*)/.exec(line)?.[1] ?? section;
    const fence = /^```(\S*)$/.exec(line);
    if (!fence) continue;
    const end = lines.indexOf('```', index + 1);
    if (end < 0) throw new Error(`${page}:${index + 1}: the block has no end`);
    blocks.push({
      page,
      line: index + 2,
      section,
      language: fence[1] ?? '',
      text: lines.slice(index + 1, end).join('\n'),
      mark: markOf(lines[index - 1] ?? ''),
    });
    index = end;
  }
  return blocks;
}

function markOf(line: string): Block['mark'] {
  const mark = /^<!-- (file|terminal|fails):? ?(.*?) ?-->$/.exec(line);
  return mark ? { name: mark[1] ?? '', value: mark[2] ?? '' } : undefined;
}

export const blocksOfPage = (page: string): Block[] => blocksOf(page, readText(page));
export const allBlocks = (): Block[] => pages.flatMap(blocksOfPage);
export const whereIs = ({ page, line }: Block): string => `${page}:${line}`;
