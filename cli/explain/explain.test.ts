// What `explain` says of the manifests in testdata, as goldens; and that it finds the row that the sidecar finds.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { compile } from '../../operator/compile/compile.ts';
import { policy, service, serviceDependency, TARGETS, world } from '../../operator/compile/testing.ts';
import { RouteTable } from '../../sidecar/route/match.ts';
import { expectGolden } from '../../test/harness/golden.ts';
import { check } from '../check/check.ts';
import { plain } from '../output/paint.ts';
import { UsageError } from '../usage-error.ts';
import { explain, matchedRules, rowOf } from './explain.ts';
import { explanation } from './explanation.ts';
import { questionFromFiles } from './from-files.ts';
import { renderExplanation } from './render.ts';
import { parseDependency, parseRequest, parseWorkload } from './target.ts';

const testdata = join(import.meta.dirname, 'testdata');
const checked = check([{ file: 'shop.yaml', text: readFileSync(join(testdata, 'shop.yaml'), 'utf8') }], {
  namespace: 'default',
});

function ask(workload: string, dependency?: string, method?: string, path?: string, ...headers: string[]) {
  const named = dependency === undefined ? undefined : parseDependency(dependency);
  const request = parseRequest(method, path, headers, named?.path);
  return explain({ ...questionFromFiles(checked, parseWorkload(workload), undefined), dependency: named, request });
}

describe('what is explained', () => {
  it.each([
    [
      'a request that a rule of the narrowest policy matches',
      ['deploy/checkout', 'payments', 'POST', '/charges/7?x=1'],
    ],
    [
      'a URL that a rule of the widest policy matches',
      ['deployment.apps/checkout', 'http://payments.billing:8080/reports/a'],
    ],
    ['all rules', ['sdep/checkout', 'payments']],
    ['an opaque dependency', ['deploy/checkout', 'db.shop.svc.cluster.local.:5432']],
    ['a host', ['deploy/checkout', 'https://api.stripe.com/v1']],
    ['a host that TLS is spoken to', ['deploy/checkout', 'http://api.partner.example/']],
    ['an entry that leads nowhere', ['deploy/checkout', 'lost']],
    ['the kill switch', ['sdep/quiet', '10.96.0.1:8080']],
    ['what is shadowed', ['deploy/trial', 'orders']],
    ['every dependency', ['deploy/checkout']],
  ] as const)('of %s', (name, [workload, dependency, method, path]) => {
    const answer = ask(workload, dependency, method, path);
    if (!answer.ok) throw new Error(answer.reason);
    expect(explanation.parse(answer.explanation)).toEqual(answer.explanation);
    const file = join(testdata, name.replaceAll(' ', '-'));
    expectGolden(`${file}.txt`, renderExplanation(answer.explanation, { paint: plain, columns: 80 }).join('\n'));
    expectGolden(`${file}.json`, JSON.stringify(answer.explanation, null, 2));
  });

  it.each([
    ['payments', ['payments']],
    ['checkout/payments', ['payments']],
    ['payments.billing', ['payments']],
    ['PAYMENTS.billing.svc:8080', ['payments']],
    ['http://10.96.0.1:8080', ['payments']],
    ['stock', ['stock']],
    ['http://stock/items', ['stock']],
    ['api.stripe.com:443', ['stripe']],
    ['payments.billing:7070', ['lost']],
    ['payments.billing:1', []],
    ['payments.shop:8080', []],
  ])('by %s means %j', (text, names) => {
    const answer = ask('deploy/checkout', text);
    expect(answer.ok ? answer.explanation.dependencies.map(({ name }) => name) : []).toEqual(names);
  });

  it('says what else there is', () => {
    expect(ask('cronjob/report')).toEqual({ ok: false, reason: 'NotSelected', known: ['checkout'] });
    expect(ask('deploy/checkout', 'nothing')).toMatchObject({ ok: false, reason: 'NoSuchDependency' });
  });

  it('assumes only what concerns the answer', () => {
    const about = (dependency: string) => {
      const answer = ask('deploy/checkout', dependency);
      return answer.ok ? answer.explanation.assumptions : [];
    };
    expect(about('payments')).toEqual([]);
    expect(about('stock')).toEqual([expect.stringContaining('Service shop/stock is not among the files')]);
  });
});

describe('a mistake on the command line', () => {
  it.each([
    [() => parseWorkload('deploy'), /such as deploy\/NAME/],
    [() => parseWorkload('checkout'), /such as deploy\/checkout/],
    [() => parseWorkload('a/b/c'), /names no workload/],
    [() => parseWorkload('node/a'), /"node" is no kind with pods/],
    [() => parseDependency('http://'), /neither the name of an entry/],
    [() => parseRequest('GE T', undefined, [], undefined), /no method/],
    [() => parseRequest('GET', 'charges', [], undefined), /starts with "\/"/],
    [() => parseRequest(undefined, undefined, ['x-canary'], undefined), /a name, a colon and a value/],
    [() => parseRequest(undefined, undefined, ['x y: 1'], undefined), /no header/],
    [() => questionFromFiles(checked, parseWorkload('deploy/chekout'), undefined), /did you mean checkout\?/],
    [
      () => questionFromFiles(checked, parseWorkload('deploy/checkout'), 'billing'),
      /no Deployment checkout of namespace billing/,
    ],
  ])('%# says what to write', (action, message) => {
    expect(action).toThrow(UsageError);
    expect(action).toThrow(message);
  });
});

const methods = ['GET', 'POST', 'DELETE'] as const;
const paths = ['/', '/a', '/a/', '/a/b', '/ab', '/b'] as const;
const match = fc
  .record(
    {
      method: fc.constantFrom(...methods),
      path: fc.record({ type: fc.constantFrom('Exact', 'PathPrefix'), value: fc.constantFrom(...paths) }),
      headers: fc.constantFrom(
        [{ name: 'x-canary', type: 'Present' }],
        [{ name: 'X-CANARY', value: 'a' }],
        [{ name: 'x-canary', type: 'Prefix', value: 'a' }],
      ),
    },
    { requiredKeys: [] },
  )
  .filter((one) => Object.keys(one).length > 0);
const rules = fc
  .uniqueArray(
    fc.record({ name: fc.constantFrom('x', 'y', 'z'), matches: fc.array(match, { minLength: 1, maxLength: 3 }) }),
    {
      selector: ({ name }) => name,
    },
  )
  .map((all) => all.map((rule, index) => ({ ...rule, retries: { maxAttempts: index + 1 } })));

describe('for every request', () => {
  it('the rules that are named give the row that the sidecar enforces', () => {
    fc.assert(
      fc.property(
        rules,
        rules,
        fc.constantFrom(...methods),
        fc.constantFrom(...paths),
        fc.constantFrom('', 'a', 'ab', 'b'),
        (wide, narrow, method, path, header) => {
          const { workloads } = compile(
            world([
              service('payments'),
              serviceDependency('checkout'),
              policy('wide', [TARGETS.service('payments')], { rules: wide }),
              policy('narrow', [TARGETS.dependency('checkout')], { rules: narrow }),
            ]),
          );
          const plan = workloads[0]?.plan.dependencies[0];
          if (plan === undefined) throw new Error('no plan');
          const enforced =
            plan.policies[new RouteTable(plan).match(method, path, header === '' ? '' : `\r\nX-Canary: ${header}`)];
          const headers = header === '' ? [] : [{ name: 'X-Canary', value: header }];
          expect(rowOf(plan, matchedRules(plan, { method, path, headers }))).toBe(enforced);
        },
      ),
    );
  });
});
