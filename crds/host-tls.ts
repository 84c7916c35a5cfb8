// TLS origination: the application calls a host in plain HTTP, and the sidecar speaks TLS to it. Names are those of Gateway API's
// BackendTLSPolicy (hostname, caCertificateRefs, wellKnownCACertificates) and of its client certificate (clientCertificateRef).
import { z } from 'zod';
import { DOC_DEFAULT, DOC_RANGE, DOC_TYPE, dnsSubdomain, objectSet } from './fields.ts';
import { formRule, withRules } from './rules.ts';

/** Keys of the referenced objects, as cert-manager and `kubectl create secret tls` name them. */
export const CA_KEY = 'ca.crt';
export const CERTIFICATE_KEY = 'tls.crt';
export const PRIVATE_KEY_KEY = 'tls.key';

const LABEL = '[a-z0-9]([-a-z0-9]*[a-z0-9])?';

const serverName = withRules(
  z
    .string()
    .max(253, { abort: true })
    .meta({
      description:
        'Name that the certificate of the host must carry, and that is sent as SNI. Always verified; there is no way to switch that off.',
      [DOC_DEFAULT]: 'the name of the host',
      [DOC_TYPE]: 'DNS name',
    }),
  [
    formRule(
      `^${LABEL}([.]${LABEL})*$`,
      'write the name that the certificate of the host carries, in lower case, without wildcard, port or a dot at its end, such as api.example.com',
    ),
  ],
);

const caCertificateRef = z
  .object({
    kind: z
      .enum(['ConfigMap', 'Secret'])
      .meta({ description: 'Kind of the object that holds the bundle.', [DOC_DEFAULT]: 'ConfigMap' })
      .optional(),
    name: dnsSubdomain('Name of the object, in the namespace of this one.'),
  })
  .meta({ description: `An object whose key ${CA_KEY} holds certificates in PEM.` });

export const hostTls = withRules(
  z.object({
    port: z
      .int()
      .min(1)
      .max(65_535)
      .meta({
        description: 'Port where the host speaks TLS, where that is another one than the application calls.',
        [DOC_DEFAULT]: 'the port of the host',
        [DOC_RANGE]: '1 to 65535',
      })
      .optional(),
    hostname: serverName.optional(),
    caCertificateRefs: objectSet(caCertificateRef, {
      description:
        'The authorities that may have issued the certificate of the host: all of these and no others. For a private authority.',
      min: 1,
      max: 8,
    }).optional(),
    wellKnownCACertificates: z
      .enum(['System'])
      .meta({
        description:
          'System: the authorities of Mozilla, as the sidecar brings them with it. This or caCertificateRefs, never both.',
        [DOC_DEFAULT]: 'System, where there are no caCertificateRefs',
      })
      .optional(),
    clientCertificateRef: z
      .object({ name: dnsSubdomain('Name of the Secret, in the namespace of this object.') })
      .meta({
        description: `The Secret (type kubernetes.io/tls) whose keys ${CERTIFICATE_KEY} and ${PRIVATE_KEY_KEY} the sidecar shows to a host that asks for a client certificate.`,
      })
      .optional(),
  }),
  [
    {
      cel: '!has(self.caCertificateRefs) || !has(self.wellKnownCACertificates)',
      message:
        'write one of the two: caCertificateRefs for authorities of your own, wellKnownCACertificates for those of the public web',
      holds: ({ caCertificateRefs, wellKnownCACertificates }) =>
        caCertificateRefs === undefined || wellKnownCACertificates === undefined,
    },
  ],
);

export type HostTls = z.output<typeof hostTls>;
