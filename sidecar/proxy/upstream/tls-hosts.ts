// TLS of all hosts that the plan has it for: made with the dependency, told of new certificates, and looked at by status, metrics and reports.
import { certificateFiles, type TlsPlan } from '../../../plan/certificates.ts';
import type { Clock } from '../../../runtime/clock.ts';
import type { Logger } from '../../../runtime/log.ts';
import type { TlsView } from '../../data-plane.ts';
import type { SidecarMetrics } from '../../metrics/sidecar-metrics.ts';
import type { CertificateSource } from '../../tls/certificate-files.ts';
import { TlsOrigination } from '../../tls/origination.ts';
import type { DependencyRuntime } from '../dependency/dependency.ts';

export interface TlsHostsOptions {
  /** Null: this sidecar has been given none. */
  certificates: CertificateSource | null;
  dependencies: ReadonlyMap<string, DependencyRuntime>;
  clock: Clock;
  metrics: SidecarMetrics;
  log: Logger;
}

const NOTHING: Pick<CertificateSource, 'read'> = { read: () => null };

export class TlsHosts {
  readonly #options: TlsHostsOptions;
  #listener: () => void = () => {};

  constructor(options: TlsHostsOptions) {
    this.#options = options;
    options.certificates?.onChange(() => {
      for (const { tls } of options.dependencies.values()) tls?.refresh();
    });
  }

  create(dependency: string, label: string, plan: TlsPlan): TlsOrigination {
    const { certificates, clock, log, metrics } = this.#options;
    return new TlsOrigination(dependency, plan, {
      certificates: certificates ?? NOTHING,
      unixMs: () => clock.unixMs(),
      log,
      onProblem: () => this.#listener(),
      onHandshake: (resumed) => metrics.countTlsHandshake(label, resumed ? 'resumed' : 'full'),
    });
  }

  /** A plan has come. */
  forgetUnnamed(): void {
    const { certificates, dependencies } = this.#options;
    certificates?.keepOnly(
      Array.from(dependencies.values()).flatMap(({ tls }) => (tls === null ? [] : certificateFiles(tls.plan))),
    );
  }

  views(): TlsView[] {
    return Array.from(this.#options.dependencies.values()).flatMap(({ plan, tls }) => {
      if (tls === null) return [];
      const { certificates, handshake } = tls.problem;
      const { serverName, port } = tls.plan;
      return [{ dependency: plan.id, serverName, port, certificates, handshake, expiresUnixMs: tls.expiries }];
    });
  }

  /** Called when what is wrong with any of them is something else than before. */
  onChange(listener: () => void): void {
    this.#listener = listener;
  }
}
