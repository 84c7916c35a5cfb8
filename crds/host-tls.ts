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
        'Name that the certificate of the host must carry, and that is sent as SNI. Verification cannot be switched off.',
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
        description: 'Port on which the host speaks TLS, if it differs from the port that the application calls.',
        [DOC_DEFAULT]: 'the port of the host',
        [DOC_RANGE]: '1 to 65535',
      })
      .optional(),
    hostname: serverName.optional(),
    caCertificateRefs: objectSet(caCertificateRef, {
      description:
        'The only authorities that are trusted to have issued the certificate of the host. For private authorities.',
      min: 1,
      max: 8,
    }).optional(),
    wellKnownCACertificates: z
      .enum(['System'])
      .meta({
        description:
          "System: Mozilla's authorities, as shipped with the sidecar. Cannot be combined with caCertificateRefs.",
        [DOC_DEFAULT]: 'System, where there are no caCertificateRefs',
      })
      .optional(),
    clientCertificateRef: z
      .object({ name: dnsSubdomain('Name of the Secret, in the namespace of this object.') })
      .meta({
        description: `The Secret (type kubernetes.io/tls) whose ${CERTIFICATE_KEY} and ${PRIVATE_KEY_KEY} the sidecar uses as client certificate, if the host asks for one.`,
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
