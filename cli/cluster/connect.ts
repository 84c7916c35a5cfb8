// The cluster that a command speaks to, found as kubectl finds it and read with the user's own rights; and what the API server answers, in
// words that say what to do.
import { existsSync } from 'node:fs';
import { ApiClient, type Query } from '../../operator/watch/api-client.ts';
import { ApiError, ApiUnreachable } from '../../operator/watch/api-errors.ts';
import { loadKubeConfig } from '../../operator/watch/kube-config.ts';
import { systemClock } from '../../runtime/clock.ts';
import { systemRandom } from '../../runtime/random.ts';
import { suggestion } from '../check/similar.ts';
import { UsageError } from '../usage-error.ts';

/** As kubectl names them. */
export interface ClusterOptions {
  namespace?: string;
  context?: string;
  kubeconfig?: string;
}

const USER_AGENT = 'breakwater-cli';
const PAGE_SIZE = 500;
const MAX_OBJECTS = 50_000;

export type RawObject = Record<string, unknown>;

export class Cluster {
  /** Of the command: the flag's, else that of the context, else "default". */
  readonly namespace: string;
  readonly #api: ApiClient;
  readonly #name: string;

  /** Throws UsageError where the kubeconfig does not lead to a cluster. */
  constructor(options: ClusterOptions) {
    const kubeConfig = kubeConfigOf(options);
    const context = kubeConfig.getCurrentContext();
    this.namespace = options.namespace ?? kubeConfig.getContextObject(context)?.namespace ?? 'default';
    try {
      this.#api = new ApiClient({ kubeConfig, clock: systemClock, random: systemRandom, userAgent: USER_AGENT });
    } catch (error) {
      throw new UsageError(`context ${context} leads to no cluster: ${messageOf(error)}`);
    }
    this.#name = `${this.#api.host}, context ${context}`;
  }

  /** Undefined where there is no such object. Throws UsageError for everything else that is no answer. */
  async get(path: string): Promise<RawObject | undefined> {
    try {
      return await this.#api.request<RawObject>('GET', path);
    } catch (error) {
      if (error instanceof ApiError && error.status === 404) return undefined;
      throw this.#usageError(error, path);
    }
  }

  /** All pages. Undefined where the API server knows no such collection. Throws UsageError. */
  async list(path: string, query: Query = {}): Promise<RawObject[] | undefined> {
    const items: RawObject[] = [];
    let token: string | undefined;
    try {
      do {
        const page = await this.#api.request<{ items?: RawObject[]; metadata?: { continue?: string } }>('GET', path, {
          query: { ...query, limit: PAGE_SIZE, continue: token },
        });
        items.push(...(page.items ?? []));
        token = page.metadata?.continue || undefined;
      } while (token !== undefined && items.length < MAX_OBJECTS);
    } catch (error) {
      if (error instanceof ApiError && error.status === 404) return undefined;
      throw this.#usageError(error, path);
    }
    return items;
  }

  async close(): Promise<void> {
    await this.#api.close();
  }

  #usageError(error: unknown, path: string): unknown {
    if (error instanceof ApiUnreachable) {
      return new UsageError(
        `the API server (${this.#name}) cannot be reached: ${causeOf(error)}; see whether "kubectl version" reaches it, or choose another with --context or --kubeconfig`,
      );
    }
    if (!(error instanceof ApiError)) return error;
    if (error.status === 401) {
      return new UsageError(`the API server (${this.#name}) does not know you (401); log in again as for kubectl`);
    }
    if (error.status === 403) return new ForbiddenError(path, error.message);
    return new UsageError(`the API server (${this.#name}) answered ${error.message}`);
  }
}

/** What the user's rights do not reach; some of it can be done without. */
export class ForbiddenError extends UsageError {
  override name = 'ForbiddenError';

  constructor(path: string, message: string) {
    super(`you may not read ${path} (${message}); ask for the right to, or use another context`);
  }
}

function kubeConfigOf({ kubeconfig, context }: ClusterOptions): ReturnType<typeof loadKubeConfig> {
  if (kubeconfig !== undefined && !existsSync(kubeconfig))
    throw new UsageError(`--kubeconfig: ${kubeconfig} does not exist`);
  let loaded: ReturnType<typeof loadKubeConfig>;
  try {
    loaded = loadKubeConfig(kubeconfig);
  } catch (error) {
    throw new UsageError(
      `the kubeconfig cannot be used: ${messageOf(error)}; give one with --kubeconfig. Without a cluster, explain reads files (-f) and inject takes --ca-bundle-file`,
    );
  }
  if (context === undefined) return loaded;
  const names = loaded.getContexts().map(({ name }) => name);
  if (!names.includes(context)) {
    const hint = suggestion(context, names) || `; it has ${names.join(', ') || 'none'}`;
    throw new UsageError(`the kubeconfig has no context ${context}${hint}`);
  }
  loaded.setCurrentContext(context);
  return loaded;
}

const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));

function causeOf(error: Error): string {
  return error.cause instanceof Error && error.cause.message !== '' ? error.cause.message : error.message;
}
