// The storefront: what customers see. It passes on what checkout says.
import { isOk, serve } from './http-service.ts';

serve(async (method, path, caller) => {
  if (method === 'POST' && path === '/orders') {
    const order = await caller.call('checkout', 'POST', '/orders');
    return { status: isOk(order) ? order.status : 502, body: order.body };
  }
  const basket = await caller.call('checkout', 'GET', '/basket');
  return { status: isOk(basket) ? 200 : 502, body: basket.body };
});
