import { describe, expect, it } from 'vitest';
import { kindOf } from './kinds.ts';
import { blocksOf } from './pages.ts';

const kindsIn = (page: string, text: string): string[] => {
  const blocks = blocksOf(page, text);
  return blocks.map((block) => kindOf(block, blocks));
};

describe('a block', () => {
  it('is executed, saved, compared or validated', () => {
    const text = [
      '# Page',
      '<!-- file: a.mjs -->\n```js\n1\n```',
      '```sh\nnode a.mjs\n```',
      '```text\n1\n```',
      '```sh\nkubectl get pods\n```',
      '```yaml\na: 1\n```',
    ].join('\n\n');
    expect(kindsIn('docs/operations.md', text)).toEqual(['file', 'machine', 'output', 'cluster', 'manifest']);
  });

  it.each([
    ['commands of a page that has no place', 'docs/adr/9999-x.md', '```sh\nls\n```'],
    ['output of nothing', 'docs/operations.md', '## A\n```sh\nls\n```\n## B\n```text\na\n```'],
    ['a language that nobody knows', 'docs/operations.md', '```sh\nls\n```\n```js\n1\n```'],
  ])('is an error: %s', (_, page, text) => {
    expect(() => kindsIn(page, text)).toThrow(/is not tested/);
  });

  it('has an end', () => {
    expect(() => blocksOf('README.md', '```sh\nls\n')).toThrow(/no end/);
  });
});
