// A caller that was refused because the event loop is late, and does not keep to Retry-After: its connection is held back, and with it nobody else.
import { describe, expect, it } from 'vitest';
import { ManualClock } from '../../../runtime/manual-clock.ts';
import { LoadShedder, MAX_SHED_RETRY_AFTER_MS } from '../../policies/load-shedder.ts';
import { type Bench, type Client, connect, dependencyPlan, get, startBench } from '../testing/fixtures.ts';
import { opened } from '../testing/opened.ts';
import { OK, startUpstream } from '../testing/upstreams.ts';

const { open } = opened();

/** A sidecar whose event loop was late until now: it refuses 19 of 20 requests, the first is not among them, and tells them 4 s. */
async function late(): Promise<
  Bench & { clock: ManualClock; refused: Client; calm: () => void; dependency: string[] }
> {
  const upstream = await startUpstream((received, socket) => {
    if (/(GET [^]*\r\n\r\n|1234)$/.test(received)) socket.write(OK);
  });
  const clock = new ManualClock();
  const shedder = new LoadShedder();
  for (let look = 0; look < 60; look += 1) shedder.observe({ memoryShare: 0.2, loopDelayMs: 80, loopUtilization: 1 });
  const bench = await startBench(dependencyPlan({}), [upstream.endpoint], { clock, shedder });
  open.push(upstream, bench);
  const first = connect(bench.port);
  first.send(get('/'));
  await first.until((text) => text.startsWith('HTTP/1.1 200'));
  first.socket.destroy();
  const refused = connect(bench.port);
  refused.send(get('/'));
  await refused.until((text) => /^HTTP\/1\.1 503 [^]*Retry-After: 4\r\n[^]*\n$/.test(text));
  const calm = () => {
    for (let look = 0; look < 60; look += 1) shedder.observe({ memoryShare: 0.2, loopDelayMs: 0, loopUtilization: 0 });
  };
  return { ...bench, clock, refused, calm, dependency: upstream.received };
}

const answers = (text: string) => Array.from(text.matchAll(/HTTP\/1\.1 (\d+)/g), ([, status]) => Number(status));
const hasAnswers = (count: number) => (text: string) => answers(text).length === count;
/** Whether the sidecar has read what was sent: the kernel has nothing of it left. Another connection is answered behind it. */
async function behind(port: number): Promise<void> {
  const other = connect(port);
  other.send(get('/other'));
  await other.until(hasAnswers(1));
  other.socket.destroy();
}

describe('a connection behind a refusal', () => {
  it('is taken up again before the time that it was told is over, and not at once', async () => {
    const { port, clock, refused, calm } = await late();
    calm();
    refused.send(get('/again'));
    await behind(port);
    await clock.advance(MAX_SHED_RETRY_AFTER_MS / 2 - 10);
    await behind(port);
    expect(answers(await refused.until(() => true))).toEqual([503]);
    await clock.advance(MAX_SHED_RETRY_AFTER_MS / 2 + 10);
    expect(answers(await refused.until(hasAnswers(2)))).toEqual([503, 200]);
    // Behind an answer that is no refusal there is nothing to wait for.
    refused.send(get('/third'));
    expect(answers(await refused.until(hasAnswers(3)))).toEqual([503, 200, 200]);
  });

  it('is as it was to a caller that comes when it was told to', async () => {
    const { clock, refused, calm } = await late();
    calm();
    await clock.advance(MAX_SHED_RETRY_AFTER_MS);
    refused.send(get('/again'));
    expect(answers(await refused.until(hasAnswers(2)))).toEqual([503, 200]);
  });

  it('is held back again where the next request is refused as well', async () => {
    const { clock, refused } = await late();
    for (let nth = 2; nth <= 4; nth += 1) {
      refused.send(get('/again'));
      await clock.advance(MAX_SHED_RETRY_AFTER_MS);
      await refused.until(hasAnswers(nth));
    }
    expect(answers(await refused.until(() => true))).toEqual([503, 503, 503, 503]);
  });

  it('keeps what was sent ahead in its order, bodies too', async () => {
    const { clock, refused, calm, dependency } = await late();
    calm();
    refused.send('POST /one HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\n1');
    refused.send(`234${get('/two')}GET /thr`);
    await clock.advance(MAX_SHED_RETRY_AFTER_MS);
    refused.send('ee HTTP/1.1\r\nHost: a\r\n\r\n');
    expect(answers(await refused.until(hasAnswers(4)))).toEqual([503, 200, 200, 200]);
    const received = dependency.join('');
    expect(received).toMatch(/POST \/one [^]*1234GET \/two [^]*GET \/three /);
  });

  it('still answers who sent a whole request and then a FIN', async () => {
    const { clock, refused, calm, port } = await late();
    calm();
    refused.socket.end(get('/last'));
    await behind(port);
    await clock.advance(MAX_SHED_RETRY_AFTER_MS);
    expect(answers(await refused.ended())).toEqual([503, 200]);
  });

  it('ends with an application that leaves, and leaves no timer behind', async () => {
    const { clock, refused, port, metric } = await late();
    await expect.poll(() => metric('breakwater_client_connections')).toBe(1);
    refused.socket.end();
    await refused.ended();
    await expect.poll(() => metric('breakwater_client_connections')).toBe(0);
    const reset = connect(port);
    reset.send(get('/'));
    await reset.until(hasAnswers(1));
    reset.send(get('/again'));
    await behind(port);
    reset.socket.resetAndDestroy();
    // It is read while it is held back, and so is its end.
    await expect.poll(() => metric('breakwater_client_connections')).toBe(0);
    await clock.advance(2 * MAX_SHED_RETRY_AFTER_MS);
    expect(clock.timers).toBeLessThanOrEqual(1);
  });

  it('holds back no other connection', async () => {
    const { port, refused, calm } = await late();
    calm();
    refused.send(get('/again'));
    const other = connect(port);
    for (let nth = 1; nth <= 3; nth += 1) {
      other.send(get('/'));
      await other.until(hasAnswers(nth));
    }
    expect(answers(await other.until(() => true))).toEqual([200, 200, 200]);
    expect(answers(await refused.until(() => true))).toEqual([503]);
  });
});
