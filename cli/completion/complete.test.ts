import { describe, expect, it } from 'vitest';
import { run } from '../testing.ts';

/** Values of the candidates, and the directive, for what follows the name of the program. */
async function completionsOf(...words: readonly string[]): Promise<string> {
  const { code, stdout, stderr } = await run(['__complete', ...words]);
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  return stdout
    .trimEnd()
    .split('\n')
    .map((line) => line.split('\t')[0])
    .join(' ');
}

describe('what may follow', () => {
  it.each([
    [[''], 'check explain inject standalone demo completion version operator sidecar :4'],
    [['ex'], 'explain :4'],
    [['nothing-like-it'], ':4'],
    [['check', ''], 'yaml yml json :8'],
    [['check', 'a.yaml', ''], 'yaml yml json :8'],
    [['check', '--'], '--namespace --strict --output --help :4'],
    [['check', '--strict', '--s'], ':4'],
    [['check', '--output', ''], 'text json github :4'],
    [['check', '-o', 'g'], 'github :4'],
    [['check', '--output=j'], '--output=json :4'],
    [['check', '--nothing=j'], ':4'],
    [['check', '-o', 'json', ''], 'yaml yml json :8'],
    [['check', '--namespace', ''], ':4'],
    [['check', '--', '--'], 'yaml yml json :8'],
    [['explain', 's'], 'sts/ sdep/ :6'],
    [['explain', 'deploy/checkout', ''], ':4'],
    [['explain', 'deploy/checkout', 'payments', 'x', ''], ':4'],
    [['explain', '-f', ''], 'yaml yml json :8'],
    [['explain', '-f', 'a.yaml', '--fi'], '--filename :4'],
    [['explain', '-f', 'a.yaml', 's'], 'sts/ sdep/ :6'],
    [['explain', '-f', 'a.yaml', '--method', 'GET', 'd'], 'deploy/ ds/ :6'],
    [['explain', '--filename=a.yaml', 'd'], 'deploy/ ds/ :6'],
    [['explain', '--kubeconfig', ''], ':0'],
    [['standalone', ''], ':16'],
    [['completion', ''], 'bash zsh fish :4'],
    [['completion', 'bash', ''], ':4'],
  ])('%j is %s', async (words, expected) => {
    expect(await completionsOf(...words)).toBe(expected);
  });

  it('comes with what it means', async () => {
    expect((await run(['__complete', 'chec'])).stdout).toMatch(/^check\tcheck manifests offline, .*\n:4\n$/);
  });
});
