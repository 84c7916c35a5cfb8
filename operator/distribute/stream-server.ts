// The wire: HTTP requests of sidecars to calls of the distributor, and its streams to responses.
import type { ServerResponse } from 'node:http';
import type { FastifyInstance, FastifyReply, FastifyRequest, RouteHandlerMethod, RouteShorthandOptions } from 'fastify';
import { z } from 'zod';
import { parseBoundedJson } from '../../plan/bounded.ts';
import { acknowledgementReport, circuitReport, PATHS, REPLICA_HEADER, REPLICA_NAME } from '../../plan/wire.ts';
import type { Admitted } from './admission.ts';
import type { Refusal } from './authenticate.ts';
import { Distributor, type DistributorOptions, type PeerView } from './distributor.ts';
import type { StreamKind } from './metrics.ts';
import type { Sink } from './stream.ts';

/** A plan of the largest size has 2048 circuits; a report of all of them fits. */
const MAX_CIRCUITS_BYTES = 4 * 1024 * 1024;
const MAX_ACKNOWLEDGEMENT_BYTES = 16 * 1024;

/** On a report that another replica passed on. */
export const FORWARDED_HEADER = 'breakwater-forwarded';

const query = z.object({
  version: z.string().min(1).max(128).optional(),
  workload: z.string().max(4096).optional(),
});

interface ErrorBody {
  status: number;
  reason: string;
  message: string;
}

export function answer(reply: FastifyReply, { status, reason, message }: ErrorBody): FastifyReply {
  if (status === 401) void reply.header('www-authenticate', `Bearer realm="breakwater", error="${reason}"`);
  if (status === 503) void reply.header('retry-after', '1');
  return reply
    .code(status)
    .header('cache-control', 'no-store')
    .send({ status, reason, message } satisfies ErrorBody);
}

function firstProblem(error: z.ZodError): string {
  const issue = error.issues[0];
  return `${issue?.path.join('.') || 'the whole'}: ${issue?.message ?? 'does not fit'}`;
}

const badRequest = (reason: string, message: string): Refusal => ({ ok: false, status: 400, reason, message });

/** `write` answers false while more is buffered than the socket takes; what comes after waits in the stream, not here. */
export function sinkOf(response: ServerResponse): Sink {
  return {
    write: (frame) => response.write(frame),
    end: (frame) => response.end(frame),
    destroy: () => response.destroy(),
  };
}

async function openStream(
  distributor: Distributor,
  kind: StreamKind,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<FastifyReply> {
  const asked = query.safeParse(request.query);
  if (!asked.success) return answer(reply, badRequest('BadQuery', firstProblem(asked.error)));
  const admitted = await distributor.admit(request.headers.authorization, asked.data.workload, request.ip);
  if (!admitted.ok) return answer(reply, admitted);
  const response = reply.raw;
  // The client may have gone while it was looked up; nothing would ever tell us again.
  if (response.destroyed) return reply;
  reply.hijack();
  response.writeHead(200, {
    'content-type': 'application/x-ndjson',
    'cache-control': 'no-store',
    ...(distributor.peers === undefined ? {} : { [REPLICA_HEADER]: distributor.peers.self }),
  });
  response.socket?.setKeepAlive(true, 15_000);
  const handle = distributor.open(kind, admitted, asked.data.version, sinkOf(response));
  response.on('drain', () => handle.drained());
  response.on('close', () => handle.closed());
  response.on('error', () => handle.closed());
  return reply;
}

/**
 * The way of a report: who is not admitted is answered before a byte of the body is read, for megabytes of JSON are what a stranger would
 * send.
 */
function takeReport<T>(
  distributor: Distributor,
  bodyLimit: number,
  schema: z.ZodType<T>,
  take: (admitted: Admitted, report: T) => void,
): RouteShorthandOptions & { handler: RouteHandlerMethod } {
  const admissions = new WeakMap<FastifyRequest, Admitted>();
  const onRequest = async (request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply | undefined> => {
    const admitted = await distributor.admit(request.headers.authorization, undefined, request.ip);
    if (!admitted.ok) return answer(reply.header('connection', 'close'), admitted);
    admissions.set(request, admitted);
    return undefined;
  };
  const handler = async (request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> => {
    const admitted = admissions.get(request);
    if (!admitted) throw new Error('a report was read before its sender was admitted');
    const report = schema.safeParse(request.body);
    if (!report.success) return answer(reply, badRequest('BadReport', firstProblem(report.error)));
    const passed = await passOn(distributor.peers, request);
    if (passed === undefined) take(admitted, report.data);
    else if (!passed.ok) return answer(reply, passed);
    return reply.code(204).send();
  };
  return { bodyLimit, onRequest, handler };
}

/** Gives a report to the replica that holds its stream; undefined where that is this one, or nobody is named. */
async function passOn(
  peers: PeerView | undefined,
  request: FastifyRequest,
): Promise<Refusal | { ok: true } | undefined> {
  const replica = request.headers[REPLICA_HEADER];
  // What was passed on once stays: two replicas that both take the other for the holder would do it for ever.
  if (peers === undefined || replica === undefined || replica === peers.self || FORWARDED_HEADER in request.headers) {
    return undefined;
  }
  if (typeof replica !== 'string' || !REPLICA_NAME.test(replica)) {
    return badRequest('BadReplica', `the header ${REPLICA_HEADER} is not the name of a pod`);
  }
  const { url: path, body } = request;
  return peers.forward(replica, { path, authorization: request.headers.authorization ?? '', body });
}

/** Adds the routes of plan/wire.ts to the server. */
function register(distributor: Distributor, fastify: FastifyInstance): void {
  void fastify.register((scope, _options, done) => {
    scope.setErrorHandler((error: { statusCode?: number; code?: string; message: string }, _request, reply) => {
      const status = error.statusCode ?? 500;
      const message = status < 500 ? error.message : 'the operator failed; its log says why';
      if (status >= 500) scope.log.error({ err: error }, 'a request of a sidecar failed');
      return answer(reply, { status, reason: status < 500 ? 'BadRequest' : 'InternalError', message });
    });
    scope.get(PATHS.plan, { exposeHeadRoute: false }, (request, reply) =>
      openStream(distributor, 'plan', request, reply),
    );
    scope.get(PATHS.endpoints, { exposeHeadRoute: false }, (request, reply) =>
      openStream(distributor, 'endpoints', request, reply),
    );
    scope.addContentTypeParser('application/json', { parseAs: 'string' }, (_request, body, parsed) => {
      const json = parseBoundedJson(String(body));
      if (json.ok) parsed(null, json.value);
      else parsed(Object.assign(new Error(`the report cannot be read: ${json.message}`), { statusCode: 400 }));
    });
    scope.post(
      PATHS.acknowledgements,
      takeReport(distributor, MAX_ACKNOWLEDGEMENT_BYTES, acknowledgementReport, (admitted, report) =>
        distributor.acknowledge(admitted, report),
      ),
    );
    scope.post(
      PATHS.circuits,
      takeReport(distributor, MAX_CIRCUITS_BYTES, circuitReport, (admitted, report) =>
        distributor.reportCircuits(admitted, report),
      ),
    );
    done();
  });
}

export interface DistributorServer extends Distributor {
  /** Adds the routes of plan/wire.ts to an HTTPS server. */
  register(fastify: FastifyInstance): void;
}

export function createDistributor(options: DistributorOptions): DistributorServer {
  const distributor = new Distributor(options);
  return Object.assign(distributor, { register: (fastify: FastifyInstance) => register(distributor, fastify) });
}
