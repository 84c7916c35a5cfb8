// Payments: does what the demo tells it to.
import { systemClock as clock } from '../../../runtime/clock.ts';
import { type Answer, serve } from './http-service.ts';
import type { Behaviour } from './messages.ts';

const HEALTHY_MS = 20;
const SLOW_MS = 3_000;
const FLAKY_EVERY = 4;

let now: Behaviour = 'Healthy';
let charges = 0;

async function charge(): Promise<Answer | undefined> {
  charges++;
  if (now === 'Down') return undefined;
  await clock.sleep(now === 'Slow' ? SLOW_MS : HEALTHY_MS);
  if (now === 'Flaky' && charges % FLAKY_EVERY === 0) return { status: 503, body: { error: 'busy' } };
  return { status: 201, body: { charge: charges } };
}

serve(charge, (command) => {
  if (command.kind === 'behaviour') now = command.behaviour;
});
