import { isIP } from 'node:net';
import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  ANNOTATION_PREFIX,
  defaultSettings,
  quantityOf,
  readSettings,
  resourceSettings,
  SETTING_NAMES,
  SETTINGS,
  unknownAnnotations,
} from './settings.ts';

const read = (annotations: Record<string, string>) => readSettings(annotations, defaultSettings());
const accepts = (annotation: string, value: string) => read({ [annotation]: value }).ok;

describe('the table', () => {
  test('every row has its own annotation, and a default that it would accept', () => {
    const annotations = SETTING_NAMES.map((name) => SETTINGS[name].annotation);
    expect(new Set(annotations).size).toBe(annotations.length);
    for (const name of SETTING_NAMES) {
      const { annotation, default: value, doc, type } = SETTINGS[name];
      expect(annotation.startsWith(ANNOTATION_PREFIX)).toBe(true);
      expect(doc.endsWith('.') && type !== '').toBe(true);
      expect(SETTINGS[name].parse(String(value))).toEqual({ ok: true, value });
      expect(unknownAnnotations({ [annotation]: '' })).toEqual([]);
    }
  });

  test('a pod wins over the installation, and that over the table', () => {
    const installation = defaultSettings({ image: 'mirror/sidecar:1', logLevel: 'warn' });
    const settings = readSettings({ 'breakwater.dev/log-level': ' debug ' }, installation);
    expect(settings).toMatchObject({
      ok: true,
      settings: { image: 'mirror/sidecar:1', logLevel: 'debug', adminPort: 15_102 },
    });
  });

  test('resources that are absent are not set', () => {
    expect(resourceSettings({ requests: { cpu: 1 } })).toEqual({
      cpuRequest: '1',
      memoryRequest: 'none',
      cpuLimit: 'none',
      memoryLimit: 'none',
    });
  });
});

describe('values', () => {
  test.each([
    ['20m', 0.02],
    ['1.5', 1.5],
    ['128Mi', 128 * 1024 * 1024],
    ['2G', 2e9],
    ['', undefined],
    ['1 Gi', undefined],
    ['-1', undefined],
    ['1e3', undefined],
    ['Mi', undefined],
  ])('quantity %s', (text, value) => {
    expect(quantityOf(text)).toBe(value);
  });

  test.each(['0', '0m', 'lots'])('a sidecar cannot have %s of anything', (text) => {
    expect(accepts('breakwater.dev/sidecar-memory-limit', text)).toBe(false);
  });

  test.each([
    ['', true],
    ['1', true],
    ['5432, 8000-8010,', true],
    ['0', false],
    ['65536', false],
    ['8010-8000', false],
    ['80-', false],
    ['http', false],
    ['80 443', false],
  ])('ports "%s"', (text, ok) => {
    expect(accepts('breakwater.dev/exclude-outbound-ports', text)).toBe(ok);
  });

  test('property: addresses are what Node takes for addresses', () => {
    const cidrs = 'breakwater.dev/exclude-outbound-cidrs';
    const address = fc.oneof(fc.ipV4(), fc.ipV6());
    const near = fc.oneof(
      fc.stringMatching(/^[0-9a-f:.]{1,39}$/, { size: 'max' }),
      fc
        .tuple(address, fc.nat(), fc.nat({ max: 1 }), fc.constantFrom('', '0', '9', 'f', 'g', ':', '.', '::'))
        .map(([text, at, removed, inserted]) => {
          const index = at % (text.length + 1);
          return text.slice(0, index) + inserted + text.slice(index + removed);
        }),
    );
    fc.assert(
      fc.property(fc.oneof(address, near), (text) => {
        expect(accepts(cidrs, text)).toBe(isIP(text) !== 0);
      }),
      { numRuns: 2000 },
    );
    fc.assert(
      fc.property(address, fc.nat({ max: 200 }), (text, bits) => {
        expect(accepts(cidrs, `${text}/${bits}`)).toBe(bits <= (isIP(text) === 4 ? 32 : 128));
      }),
    );
    for (const wrong of ['010.0.0.0', '10.0.0.0/', '10.0.0.0/8/8', '/8', '10.0.0.0/-1', 'fe80::1%eth0'])
      expect(accepts(cidrs, wrong)).toBe(false);
  });
});
