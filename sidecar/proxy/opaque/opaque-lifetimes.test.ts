// Opaque connections from their first byte to their end: silence, detection, shadows, and what is left over.
import { describe, expect, it, vi } from 'vitest';
import { findNodeHandles, type TcpHandle } from '../sockets/node-handles.ts';
import { type Bench, BREAKER, RETRIES } from '../testing/fixtures.ts';
import { answered, BULKHEAD, leap, nothingHeld, opaqueBench, pass, TIMEOUTS, until } from '../testing/opaque-bench.ts';
import { DEAD_ENDPOINT, OK, startSwallowing } from '../testing/upstreams.ts';

const { echo, open, tcp, upstream } = opaqueBench();

describe('silence', () => {
  it('ends a connection after the idle time, and bytes of either side begin it anew', async () => {
    let speak = () => {};
    const talking = await upstream(
      () => {},
      (socket) => {
        speak = () => void socket.write('x');
      },
    );
    const bench = await tcp({}, [talking.endpoint]);
    const client = bench.client();
    client.send('hello');
    await until(() => talking.received[0]).toBe('hello');
    await leap(bench.clock, 45_000);
    speak();
    await client.until((text) => text === 'x');
    await leap(bench.clock, 45_000);
    client.send('again');
    await until(() => talking.received[0]).toBe('helloagain');
    await leap(bench.clock, 45_000);
    expect(bench.plane.held().tunnels).toBe(1);
    await leap(bench.clock, 20_000);
    await client.ended();
    expect(await bench.result('idle-timeout')).toBe(1);
    await nothingHeld(bench);
  });

  it('ends a connection that is half-closed, and one on which nobody ever spoke', async () => {
    const server = await upstream(
      () => {},
      (socket) => queueMicrotask(() => socket.removeAllListeners('end')),
    );
    const bench = await tcp({}, [server.endpoint]);
    const half = bench.client();
    half.send('hello');
    half.socket.end();
    const mute = bench.client();
    await until(() => server.connections).toBe(2);
    await until(() => server.received.join('')).toBe('hello');
    await leap(bench.clock, 61_000);
    await half.ended();
    await mute.ended();
    expect(await bench.result('idle-timeout')).toBe(2);
    await nothingHeld(bench);
  });
});

describe('probes of TCP', () => {
  it('begin on both sides of a connection that is old enough, whether or not bytes pass', async () => {
    const server = await echo();
    const bench = await tcp({ timeouts: { ...TIMEOUTS, opaqueIdleMs: 0 } }, [server.endpoint]);
    const handle = findNodeHandles()?.newTcp();
    handle?.close();
    const probes = vi.spyOn(Object.getPrototypeOf(handle) as TcpHandle, 'setKeepAlive');
    const client = bench.client();
    await answered(client);
    await pass(bench.clock, 9_000);
    await answered(client);
    expect(probes).not.toHaveBeenCalled();
    await pass(bench.clock, 1_100);
    expect(probes.mock.calls).toEqual([
      [true, 30],
      [true, 30],
    ]);
    await pass(bench.clock, 30_000);
    expect(probes).toHaveBeenCalledTimes(2);
    probes.mockRestore();
    await answered(client);
    client.socket.destroy();
    await nothingHeld(bench);
  });
});

describe('what is not known to be opaque', () => {
  it('is refused where it stays silent, after a bounded time, and answered where it speaks HTTP', async () => {
    const bench = await tcp({ circuitBreaker: { ...BREAKER, force: 'Open' } }, [DEAD_ENDPOINT], { protocol: 'Detect' });
    const silent = bench.client();
    const speaking = bench.client();
    await until(() => bench.plane.held().timers).toBe(2);
    await pass(bench.clock, 500);
    expect(silent.socket.destroyed).toBe(false);
    speaking.send('GET / HTTP/1.1\r\nHost: a\r\n\r\n');
    expect(await speaking.until((text) => text.includes('\r\n\r\n'))).toContain('Breakwater-Reason: circuit-open');
    await pass(bench.clock, 700);
    expect(await silent.closed()).toBe('ECONNRESET');
    expect(await bench.result('circuit-open')).toBe(1);
    speaking.socket.destroy();
    await nothingHeld(bench);
  });

  it('takes nothing for itself where it turns out to be HTTP', async () => {
    const server = await upstream((received, socket) => {
      if (received.includes('\r\n\r\n')) socket.write(OK);
    });
    const bench = await tcp({ circuitBreaker: BREAKER, bulkhead: BULKHEAD }, [server.endpoint], { protocol: 'Detect' });
    const client = bench.client();
    await pass(bench.clock, 50);
    await until(() => server.connections).toBe(1);
    expect(bench.plane.held().bulkheadPlaces).toBe(1);
    client.send('GET / HTTP/1.1\r\nHost: a\r\n\r\n');
    await client.until((text) => text.endsWith('ok'));
    client.socket.destroy();
    await until(() => bench.plane.held()).toMatchObject({ bulkheadPlaces: 0, tunnels: 0, attempts: 0 });
    expect(bench.plane.circuits()[0]?.counts).toMatchObject({ calls: 1, failures: 0 });
    expect(await bench.metric('breakwater_attempts_total')).toBe(1);
    expect(await bench.metric('breakwater_tcp_connections_total')).toBe(0);
  });

  it('is nothing in progress while nobody has said a word, so that a drain does not wait for it', async () => {
    const server = await echo();
    const bench = await tcp({}, [server.endpoint], { protocol: 'Detect' });
    const silent = bench.client();
    await until(() => bench.clock.timers).toBeGreaterThan(0);
    await pass(bench.clock, 50);
    await until(() => server.connections).toBe(1);
    expect(bench.plane.inFlight()).toBe(0);
    await answered(silent);
    expect(bench.plane.inFlight()).toBe(1);
    silent.socket.destroy();
    await until(() => bench.plane.inFlight()).toBe(0);
  });

  it('loses no time to a server that speaks first, once one did', async () => {
    const server = await upstream(
      () => {},
      (socket) => socket.write('220 hello\r\n'),
    );
    const bench = await tcp({}, [server.endpoint], { protocol: 'Detect' });
    const first = bench.client();
    await until(() => bench.plane.held().timers).toBe(1);
    expect(server.connections).toBe(0);
    await pass(bench.clock, 20);
    await first.until((text) => text === '220 hello\r\n');
    const second = bench.client();
    await until(() => bench.plane.held().timers).toBe(2);
    await pass(bench.clock, 5);
    await second.until((text) => text === '220 hello\r\n');
  });
});

describe('what was found on connections', () => {
  const first: [string, string, string | null][] = [
    ['TLS', 'Tls', '\x16\x03\x01\x00\x05\x01\x00\x00\x01\x03'],
    ['anything else', 'Opaque', '\x00\x00\x00\x08\x04\xd2\x16\x2f'],
    ['a server that speaks first', 'ServerFirst', null],
  ];
  it.each(first)('is told: %s', async (_name, protocol, bytes) => {
    const server = await upstream(
      (_received, socket) => socket.write('x'),
      (socket) => void (bytes === null && socket.write('x')),
    );
    for (const declared of ['Opaque', 'Detect'] as const) {
      const bench = await tcp({}, [server.endpoint], { protocol: declared });
      let told = 0;
      bench.plane.onOpaqueChange(() => told++);
      expect(bench.plane.opaque()).toEqual([]);
      const client = bench.client();
      if (bytes !== null) client.send(bytes);
      await until(async () => {
        await bench.clock.advance(10);
        return bench.plane.opaque();
      }).toEqual([{ dependency: 'shop/checkout/payments', protocol, alsoHttp: false }]);
      await leap(bench.clock, 600);
      expect(told).toBe(1);
      client.socket.destroy();
      await nothingHeld(bench);
    }
  });

  it('is nothing where nobody has said a word, and both where some connections speak HTTP', async () => {
    const server = await upstream((received, socket) => socket.write(received.startsWith('GET') ? OK : 'x'));
    const bench = await tcp({}, [server.endpoint], { protocol: 'Detect' });
    const silent = bench.client();
    await pass(bench.clock, 50);
    silent.socket.destroy();
    await nothingHeld(bench);
    expect(bench.plane.opaque()).toEqual([]);
    const opaque = bench.client();
    opaque.send('\x00');
    await opaque.until((text) => text === 'x');
    const http = bench.client();
    http.send('GET / HTTP/1.1\r\nHost: a\r\n\r\n');
    await http.until((text) => text.endsWith('ok'));
    expect(bench.plane.opaque()).toMatchObject([{ protocol: 'Opaque', alsoHttp: true }]);
  });
});

describe('in shadow', () => {
  const NO_SHADOW = {
    timeouts: null,
    retries: null,
    circuitBreaker: null,
    outlierDetection: null,
    bulkhead: null,
    rateLimit: null,
    fallback: null,
    faultInjection: null,
    loadBalancing: null,
    healthCheck: null,
    hedging: null,
  };
  const decisions = (bench: Bench, policy: string, decision: string) =>
    bench.metric('breakwater_shadow_decisions_total', { policy, decision });

  it('a circuit, a bulkhead and retries are judged, and refuse nobody', async () => {
    const server = await upstream((received, socket) => {
      if (received.startsWith('cut')) socket.resetAndDestroy();
      else socket.write('x');
    });
    const shadow = {
      ...NO_SHADOW,
      circuitBreaker: { ...BREAKER, stateKey: 'shadow.circuitBreaker:base', consecutiveFailures: 1 },
      bulkhead: { ...BULKHEAD, stateKey: 'shadow.bulkhead:base', maxQueued: 0 },
      rateLimit: { stateKey: 'shadow.rateLimit:base', requestsPerSecond: 1, burst: 1, perHeader: null },
    };
    const bench = await tcp({ shadow }, [server.endpoint]);
    const first = bench.client();
    await answered(first);
    const second = bench.client();
    await answered(second);
    expect(await decisions(bench, 'bulkhead', 'bulkhead-full')).toBe(1);
    first.socket.destroy();
    second.socket.destroy();
    await nothingHeld(bench);
    const cut = bench.client();
    cut.send('cut');
    await cut.closed();
    await until(() => bench.plane.circuits()[0]?.state).toBe('Open');
    const third = bench.client();
    await answered(third);
    expect(await decisions(bench, 'circuitBreaker', 'circuit-open')).toBe(1);
    third.socket.destroy();
    await nothingHeld(bench);
    // Of requests, which there are none of.
    expect(await decisions(bench, 'rateLimit', 'rate-limited')).toBe(0);
  });

  it.each(['Opaque', 'Detect'] as const)('a probe that stands and is silent is a success: %s', async (protocol) => {
    const server = await upstream((received, socket) => {
      if (received.endsWith('cut')) socket.resetAndDestroy();
    });
    const circuitBreaker = {
      ...BREAKER,
      stateKey: 'shadow.circuitBreaker:base',
      consecutiveFailures: 1,
      halfOpenSuccesses: 1,
      halfOpenProbeTimeoutMs: 1_000,
    };
    const bench = await tcp({ shadow: { ...NO_SHADOW, circuitBreaker } }, [server.endpoint], { protocol });
    const cut = bench.client();
    cut.send('\0cut');
    await cut.closed();
    const state = () => bench.plane.circuits()[0]?.state;
    await until(state).toBe('Open');
    await pass(bench.clock, 300);
    expect(state()).toBe('HalfOpen');
    const probe = bench.client();
    await until(async () => {
      await bench.clock.advance(10);
      return server.connections;
    }).toBe(2);
    probe.send('\0');
    await until(() => server.received[1]).toBe('\0');
    await pass(bench.clock, 1_600);
    expect(state()).toBe('Closed');
    probe.socket.destroy();
    await nothingHeld(bench);
  });

  it('timeouts of connections are, with their own idle time', async () => {
    const server = await echo();
    const shadow = {
      ...NO_SHADOW,
      timeouts: { ...TIMEOUTS, requestMs: 10, attemptMs: 10, idleMs: 10, opaqueIdleMs: 5_000 },
    };
    const bench = await tcp({ shadow }, [server.endpoint]);
    const client = bench.client();
    await answered(client);
    await leap(bench.clock, 4_000);
    await answered(client);
    expect(await decisions(bench, 'timeouts', 'idle-timeout')).toBe(0);
    await leap(bench.clock, 6_000);
    await answered(client);
    expect(await decisions(bench, 'timeouts', 'idle-timeout')).toBe(1);
    client.socket.destroy();
    await nothingHeld(bench);
    expect(await decisions(bench, 'timeouts', 'deadline')).toBe(0);
  });
});

describe('nothing is left over of a connection', () => {
  const policy = {
    retries: { ...RETRIES, backoffInitialMs: 10_000, backoffMaxMs: 10_000, maxAttempts: 3 },
    circuitBreaker: { ...BREAKER, consecutiveFailures: 100 },
    bulkhead: { ...BULKHEAD, queueTimeoutMs: 60_000 },
  };

  it('whose application goes away while it waits for a place', async () => {
    const server = await echo();
    const bench = await tcp(policy, [server.endpoint]);
    const first = bench.client();
    await answered(first);
    const waiting = bench.client();
    await until(() => bench.plane.held().bulkheadQueued).toBe(1);
    waiting.socket.resetAndDestroy();
    await until(() => bench.plane.held().bulkheadQueued).toBe(0);
    first.socket.resetAndDestroy();
    await nothingHeld(bench);
    expect(await bench.result('abandoned')).toBe(1);
  });

  it('whose application goes away while it pauses before another attempt', async () => {
    const bench = await tcp(policy, [DEAD_ENDPOINT]);
    const client = bench.client();
    await until(() => bench.metric('breakwater_upstream_connects_total', { result: 'refused' })).toBe(1);
    client.socket.resetAndDestroy();
    await nothingHeld(bench);
  });

  it('whose application goes away while it is being made', async () => {
    const swallowing = await startSwallowing();
    open.push(swallowing);
    const bench = await tcp(policy, [swallowing.endpoint]);
    const client = bench.client();
    client.send('x');
    await until(() => bench.plane.held().attempts).toBe(1);
    client.socket.resetAndDestroy();
    await nothingHeld(bench);
    expect(await bench.metric('breakwater_attempts_total', { result: 'cancelled' })).toBe(1);
  });

  it.each(['before', 'after'])('whose application goes away %s the first byte', async (when) => {
    const server = await echo();
    const bench = await tcp(policy, [server.endpoint]);
    const client = bench.client();
    await until(() => server.connections).toBe(1);
    if (when === 'after') await answered(client);
    client.socket.resetAndDestroy();
    await nothingHeld(bench);
  });

  it('that is open when the sidecar ends', async () => {
    const server = await echo();
    const bench = await tcp(policy, [server.endpoint]);
    const client = bench.client();
    await answered(client);
    bench.client();
    await until(() => bench.plane.held().bulkheadQueued).toBe(1);
    await bench.close();
    await nothingHeld(bench);
    expect(await bench.result('shutdown')).toBe(2);
  });
});

describe('metrics', () => {
  it('tell how many are open, what passed, and how long they were', async () => {
    const server = await echo();
    const bench = await tcp({}, [server.endpoint]);
    const client = bench.client();
    await answered(client);
    const dependency = 'payments';
    expect(await bench.metric('breakwater_tcp_connections', { dependency })).toBe(1);
    expect(await bench.metric('breakwater_tcp_connections_opened_total', { dependency })).toBe(1);
    expect(await bench.metric('breakwater_tcp_bytes_total', { dependency, direction: 'received' })).toBe(1);
    await pass(bench.clock, 2_000);
    client.socket.end();
    await until(() => bench.result('ended')).toBe(1);
    expect(await bench.metric('breakwater_tcp_connections', { dependency })).toBe(0);
    const text = bench.metrics.registry.metrics();
    expect(text).toContain('breakwater_tcp_connection_duration_seconds_bucket{dependency="payments",le="1"} 0');
    expect(text).toContain('breakwater_tcp_connection_duration_seconds_bucket{dependency="payments",le="10"} 1');
  });
});
