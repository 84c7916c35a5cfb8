// A dependency that fails always: what its callers' retries add to its load is within the budget, over all connections of the application together.
import { expect, it } from 'vitest';
import { connect, dependencyPlan, get, RETRIES } from '../testing/fixtures.ts';
import { opened } from '../testing/opened.ts';

const { bench, upstream } = opened();

const CONNECTIONS = 8;
const REQUESTS_OF_EACH = 100;
const PERCENT = 20;

it('retries add no more than their budget to the load of a dependency that always fails', async () => {
  let arrived = 0;
  const server = await upstream((received, socket, connection) => {
    if (!received.endsWith('\r\n\r\n')) return;
    server.received[connection] = '';
    arrived += 1;
    socket.write('HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n');
  });
  const retries = { ...RETRIES, maxAttempts: 5, budgetPercent: PERCENT, budgetMinPerSecond: 0 };
  const { metric, port } = await bench(dependencyPlan({ retries }), server.endpoint);
  const application = async () => {
    const client = connect(port);
    for (let nth = 1; nth <= REQUESTS_OF_EACH; nth += 1) {
      client.send(get('/'));
      await client.until((text) => text.split('HTTP/1.1 503').length === nth + 1, 10_000);
    }
    client.socket.destroy();
  };
  await Promise.all(Array.from({ length: CONNECTIONS }, application));
  const asked = CONNECTIONS * REQUESTS_OF_EACH;
  expect(arrived).toBeGreaterThan(asked);
  expect(arrived).toBeLessThanOrEqual(asked * (1 + PERCENT / 100));
  expect(await metric('breakwater_retries_suppressed_total', { cause: 'budget' })).toBeGreaterThan(asked / 2);
}, 60_000);
