// Which rule holds for a request is seen from its first byte on: the head is matched, and by nothing that this hop takes out of it.
import { expect, it } from 'vitest';
import type { RulePlan } from '../../../plan/plan.ts';
import { connect, dependencyPlan, NO_POLICY, startBench } from '../testing/fixtures.ts';
import { opened } from '../testing/opened.ts';
import { startUpstream } from '../testing/upstreams.ts';

const { open } = opened();

const timeouts = { requestMs: 40, attemptMs: 0, connectMs: 0, idleMs: 0, opaqueIdleMs: 0 };
const rule = (name: string, match: Partial<RulePlan['matches'][number]>): RulePlan => ({
  name,
  matches: [{ method: null, path: null, ...match }],
});

it('is told by method, path and headers, the first that matches', async () => {
  const upstream = await startUpstream(() => {});
  open.push(upstream);
  const level = [
    rule('batch', { headers: [{ name: 'x-batch', type: 'Exact', value: 'nightly, late' }] }),
    rule('debugged', { method: 'GET', headers: [{ name: 'x-debug', type: 'Present', value: '' }] }),
    rule('imported', {
      path: { type: 'PathPrefix', value: '/in' },
      headers: [
        { name: 'user-agent', type: 'Prefix', value: 'importer/' },
        { name: 'x-debug', type: 'Present', value: '' },
      ],
    }),
  ];
  const policies = ['base', ...level.map(({ name }) => name)].map((name) => ({ ...NO_POLICY, timeouts, rule: name }));
  const plan = dependencyPlan({}, { levels: [level], combinations: [0, 1, 2, 3], policies });
  const bench = await startBench(plan, [upstream.endpoint]);
  open.push(bench);
  const ruleOf = async (start: string, fields = '') => {
    const client = connect(bench.port);
    open.push({ close: () => client.socket.destroy() });
    client.send(`${start} HTTP/1.1\r\nHost: a\r\n${fields}Content-Length: 0\r\n\r\n`);
    const answer = await client.until((received) => received.endsWith('}\n'));
    return (JSON.parse(answer.slice(answer.indexOf('{'))) as { rule: string }).rule;
  };
  expect(await ruleOf('GET /')).toBe('base');
  expect(await ruleOf('GET /', 'X-Batch: nightly\r\nx-batch: late\r\n')).toBe('batch');
  expect(await ruleOf('GET /', 'X-Batch: nightly\r\n')).toBe('base');
  expect(await ruleOf('GET /in', 'User-Agent: importer/2\r\nX-DEBUG:\r\n')).toBe('debugged');
  expect(await ruleOf('PUT /in/7', 'User-Agent: importer/2\r\nX-DEBUG:\r\n')).toBe('imported');
  expect(await ruleOf('PUT /other', 'User-Agent: importer/2\r\nX-DEBUG:\r\n')).toBe('base');
});
