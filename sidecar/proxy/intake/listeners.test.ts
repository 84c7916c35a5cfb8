// Which listeners there are under each mode of capture, when they open, and who is told of what comes to them.
import { describe, expect, it } from 'vitest';
import type { Bootstrap } from '../../../plan/bootstrap.ts';
import { silentLogger } from '../../../runtime/log.ts';
import type { DependencyRuntime } from '../dependency/dependency.ts';
import type { Accepted } from '../sockets/listen.ts';
import { type Network, systemNetwork } from '../sockets/network.ts';
import { dependencyPlan } from '../testing/fixtures.ts';
import { isStandalone, Listeners, type ListenersOptions } from './listeners.ts';

/** Ports are there, but those that are taken; the first free one is 40001. */
class PortsOnly {
  readonly open = new Map<string, (accepted: Accepted) => void>();
  readonly taken = new Set<string>();
  #next = 40_000;

  readonly network: Network = {
    ...systemNetwork,
    listen: async (host, port, _log, onConnection) => {
      this.#next += port === 0 ? 1 : 0;
      const place = `${host}:${port === 0 ? this.#next : port}`;
      if (this.taken.has(place)) throw Object.assign(new Error('taken'), { code: 'EADDRINUSE' });
      this.open.set(place, onConnection);
      const address = { address: host, family: 'IPv4', port: port === 0 ? this.#next : port };
      return { address: () => address, close: () => this.open.delete(place) } as never;
    },
  };
}

const BOOTSTRAP: Bootstrap = {
  formatVersion: 1,
  capture: 'loopback',
  leftOut: [],
  entries: [
    {
      address: '127.77.0.1',
      service: { namespace: 'billing', name: 'payments' },
      host: null,
      clusterIPs: [],
      ports: [{ listen: 8080, port: 8080 }],
    },
  ],
};

function listening(options: Partial<ListenersOptions>) {
  const ports = new PortsOnly();
  const came: string[] = [];
  const dependencies = new Map<string, DependencyRuntime>();
  const listeners = new Listeners({
    capture: 'explicit',
    bootstrap: null,
    bindHost: '127.0.0.1',
    outboundPort: 15_001,
    originalDestination: (fd) => ({ address: '10.0.0.1', port: fd }),
    dependencies,
    arrivals: {
      captured: (_accepted, { address, port }) => came.push(`captured ${address}:${port}`),
      listened: (_accepted, { key }) => came.push(`listened ${key}`),
      dedicated: (_accepted, { label }) => came.push(`dedicated ${label}`),
    },
    network: ports.network,
    log: silentLogger,
    ...options,
  });
  const declare = (name: string, ports: readonly number[] = [8080]) => {
    const service = { namespace: 'billing', name, port: 8080, ports: [...ports] };
    const plan = { ...dependencyPlan({}), id: name, name, service };
    dependencies.set(name, { plan, label: name, removed: false } as unknown as DependencyRuntime);
  };
  const connect = (place: string) => ports.open.get(place)?.({ fd: 99 } as Accepted);
  return { listeners, ports, came, declare, dependencies, connect };
}

describe('the listeners', () => {
  it('under capture `iptables` are those that the kernel redirects to, and no plan adds any', async () => {
    const { listeners, ports, came, declare, connect } = listening({ capture: 'iptables' });
    await listeners.open();
    declare('payments');
    listeners.follow();
    await expect.poll(() => [...ports.open.keys()]).toEqual(['127.0.0.1:15001', '::1:15001']);
    connect('127.0.0.1:15001');
    expect(came).toEqual(['captured 10.0.0.1:99']);
    expect([listeners.has('::1 15001'), listeners.has('127.0.0.1 15002')]).toEqual([true, false]);
    expect([listeners.addresses(), listeners.view()]).toEqual([{}, []]);
    listeners.close();
    expect(ports.open.size).toBe(0);
  });

  it('of a bootstrap are open before any plan, and follow the ports of its Services', async () => {
    const { listeners, ports, came, declare, connect } = listening({ capture: 'loopback', bootstrap: BOOTSTRAP });
    ports.taken.add('127.77.0.1:9090');
    await listeners.open();
    expect([...ports.open.keys()]).toEqual(['127.77.0.1:8080']);
    expect(listeners.failed).toBe(0);
    declare('payments', [8080, 9090, 9091]);
    listeners.follow();
    await expect.poll(() => [...ports.open.keys()]).toEqual(['127.77.0.1:8080', '127.77.0.1:9091']);
    connect('127.77.0.1:9091');
    expect(came).toEqual(['listened billing/payments:9091']);
    expect(listeners.failed).toBe(1);
    expect(listeners.view().map(({ listen, problem }) => `${listen} ${problem}`.trim())).toEqual([
      '127.77.0.1:8080',
      '127.77.0.1:9090 EADDRINUSE',
      '127.77.0.1:9091',
    ]);
    // One that could not be opened would lead back all the same.
    expect([listeners.has('127.77.0.1 9090'), listeners.has('127.77.0.1 1')]).toEqual([true, false]);
    expect(listeners.addresses()).toEqual({});
  });

  it('of standalone mode are one for each dependency of the plan', async () => {
    const portBefore = (name: string) => (name === 'payments' ? 7_000 : undefined);
    const { listeners, ports, came, declare, dependencies, connect } = listening({ portBefore });
    declare('payments');
    listeners.follow();
    expect(ports.open.size).toBe(0);
    await listeners.open();
    declare('search');
    listeners.follow();
    await expect.poll(() => listeners.addresses()).toEqual({ payments: '127.0.0.1:7000', search: '127.0.0.1:40001' });
    connect('127.0.0.1:40001');
    expect(came).toEqual(['dedicated search']);
    expect([listeners.has('127.0.0.1 7000'), listeners.has('127.0.0.1 7001')]).toEqual([true, false]);
    dependencies.delete('payments');
    listeners.forget('payments');
    expect([...ports.open.keys()]).toEqual(['127.0.0.1:40001']);
    listeners.close();
    declare('late');
    listeners.follow();
    expect(ports.open.size).toBe(0);
  });

  it('are those of standalone mode where nothing else says where to listen', () => {
    expect(isStandalone({ capture: 'explicit', bootstrap: null })).toBe(true);
    expect(isStandalone({ capture: 'explicit', bootstrap: BOOTSTRAP })).toBe(false);
    expect(isStandalone({ capture: 'iptables', bootstrap: null })).toBe(false);
  });
});
