// Inventory: always well.
import { systemClock as clock } from '../../../runtime/clock.ts';
import { serve } from './http-service.ts';

serve(async () => {
  await clock.sleep(4);
  return { status: 200, body: { stock: 7 } };
});
