// Checkout: takes orders. It was written with care: where a payment does not go through, the order is taken and paid later. That helps
// only if the failure of payments comes in time, before the customer has gone and before every worker waits for payments.
import { randomUUID } from 'node:crypto';
import { isOk, serve } from './http-service.ts';

serve(async (method, path, caller) => {
  const stock = await caller.call('inventory', 'GET', '/stock');
  if (!isOk(stock)) return { status: 502, body: { error: 'no stock' } };
  if (method !== 'POST' || path !== '/orders') return { status: 200, body: { items: 1 } };
  // The key tells payments which charges are the same one, so that this call may be tried again.
  const charge = await caller.call('payments', 'POST', '/charges', { 'idempotency-key': randomUUID() });
  if (charge.status === 201) return { status: 201, body: { order: 'paid' } };
  return { status: 202, body: { order: 'accepted', payment: 'later' } };
});
