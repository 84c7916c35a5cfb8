// What a pod is born with in the capture modes that need no privilege: which addresses of the loopback interface stand for which
// destinations. Injection writes it into an annotation of the pod, since host names and environment of a running pod cannot change any
// more; the sidecar listens by it from its first moment, before any plan, and the operator reads from it what the pod cannot know yet.
import * as z from 'zod';

export const BOOTSTRAP_ANNOTATION = 'breakwater.dev/bootstrap';
export const BOOTSTRAP_FORMAT_VERSION = 1;

export const BOOTSTRAP_LIMITS = {
  /** Of the JSON text; the kernel takes 128 KiB in one variable of the environment, an object 256 KiB of annotations. */
  bytes: 96 * 1024,
  entries: 512,
  portsPerEntry: 256,
} as const;

const port = z.number().int().min(1).max(65_535);

/** One destination: all connections to `address` and one of the ports `listen` are meant for it. */
export const bootstrapEntry = z.object({
  /** 127.77.x.y, one for each destination (loopback); 127.0.0.1 for all (explicit). */
  address: z.ipv4(),
  /** Exactly one of the two is not null. */
  service: z.object({ namespace: z.string().max(253), name: z.string().max(253) }).nullable(),
  host: z.string().max(253).nullable(),
  /** ClusterIPs of the Service at admission, the preferred family first; empty for a host. Dialled until a plan says more. */
  clusterIPs: z.array(z.string().max(64)).max(2),
  /** `listen`: where the sidecar takes connections. `port`: of the destination; under `loopback` the same number. */
  ports: z.array(z.object({ listen: port, port })).max(BOOTSTRAP_LIMITS.portsPerEntry),
});
export type BootstrapEntry = z.infer<typeof bootstrapEntry>;

/** Why a destination that was declared at admission is not among the entries: its calls pass the sidecar by. */
export const leftOutReason = z.enum([
  /** A container of the pod uses a port of the Service itself, and could not bind it any more. */
  'PortInUse',
  /** The pod may not bind one of the Service's ports, which is below its `net.ipv4.ip_unprivileged_port_start`. */
  'PrivilegedPort',
  /** It has no ClusterIP for which an address could stand. */
  'Headless',
  /** It has ports of other protocols as well, which nobody would answer. */
  'NotOnlyTcp',
  'ExternalName',
  /** Host aliases of the pod's own name it already. */
  'NameTaken',
  /** It did not exist, or had no such port. */
  'NotThere',
  /** The limits of a bootstrap or of a range of ports. */
  'NoRoom',
]);
export type LeftOutReason = z.infer<typeof leftOutReason>;

export const bootstrap = z.object({
  formatVersion: z.literal(BOOTSTRAP_FORMAT_VERSION),
  capture: z.enum(['loopback', 'explicit']),
  entries: z.array(bootstrapEntry).max(BOOTSTRAP_LIMITS.entries),
  /** For the status of the ServiceDependency; it means nothing to the sidecar. "<namespace>/<service>", or the name of a host. */
  leftOut: z
    .array(z.object({ destination: z.string().max(507), reason: leftOutReason, port: port.optional() }))
    .max(BOOTSTRAP_LIMITS.entries)
    .default([]),
});
export type Bootstrap = z.infer<typeof bootstrap>;

export type ReadBootstrap = { ok: true; bootstrap: Bootstrap } | { ok: false; message: string };

/** Reads the annotation's text. */
export function readBootstrap(text: string): ReadBootstrap {
  if (text.length > BOOTSTRAP_LIMITS.bytes)
    return { ok: false, message: `it is longer than ${BOOTSTRAP_LIMITS.bytes} bytes` };
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return { ok: false, message: 'it is not JSON' };
  }
  const read = bootstrap.safeParse(value);
  if (read.success) return { ok: true, bootstrap: read.data };
  const issue = read.error.issues[0];
  return { ok: false, message: `${issue?.path.join('.') || 'its root'}: ${issue?.message ?? ''}` };
}
