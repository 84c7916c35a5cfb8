// Why TLS to a host could not be had: one table, with what is told about each. Pure.
import { LOCAL_ANSWERS, type LocalAnswer } from '../errors.ts';

const FAILURES = {
  'tls-certificates':
    'The sidecar has not got the certificates that host.tls of the entry names, or cannot use them; see the status of the ServiceDependency.',
  'tls-expired': 'The certificate of the host has expired, or is not valid yet: whoever runs the host must renew it.',
  'tls-name': 'The certificate of the host is not for the name that host.tls.hostname, or else host.name, says.',
  'tls-authority':
    'The certificate of the host comes from an authority that is not trusted: name the right one in host.tls.caCertificateRefs.',
  'tls-client-certificate':
    'The host asked for a client certificate and did not accept what it was shown, or was shown none: see host.tls.clientCertificateRef.',
  'tls-version':
    'The host does not speak TLS 1.2 or newer at this port: see host.tls.port, or ask whoever runs the host.',
  'tls-no-http2':
    'The request came in HTTP/2, which the host does not speak by ALPN: let the application use HTTP/1.1 for it.',
  'tls-handshake':
    'The host ended the connection in the middle of the TLS handshake, or what it sent could not be read.',
} as const;

export type TlsFailure = keyof typeof FAILURES;

export const TLS_FAILURES = Object.keys(FAILURES) as TlsFailure[];

/** Of failures that somebody has to mend: they do not go away by themselves. */
export const isLasting = (failure: TlsFailure): boolean => failure !== 'tls-handshake';

/** For the application: each is a connect-failed, with its own detail. */
const ANSWERS = Object.fromEntries(
  TLS_FAILURES.map((failure) => [
    failure,
    { ...LOCAL_ANSWERS.connectFailed, detail: `${FAILURES[failure]} The request was not sent.` },
  ]),
) as Record<TlsFailure, LocalAnswer>;

export function answerOf(failure: string): LocalAnswer {
  return isTlsFailure(failure) ? ANSWERS[failure] : LOCAL_ANSWERS.connectFailed;
}

export const isTlsFailure = (failure: string): failure is TlsFailure => Object.hasOwn(FAILURES, failure);

export const sentenceOf = (failure: TlsFailure): string => FAILURES[failure];

/** Codes of our own errors. */
export const NO_CERTIFICATES = 'ERR_BREAKWATER_NO_CERTIFICATES';
export const NO_HTTP2 = 'ERR_BREAKWATER_NO_HTTP2';

const EXPIRED = new Set(['CERT_HAS_EXPIRED', 'CERT_NOT_YET_VALID']);
const WRONG_NAME = new Set(['ERR_TLS_CERT_ALTNAME_INVALID', 'ERR_TLS_CERT_ALTNAME_FORMAT']);
/** What OpenSSL calls the other ways in which a chain does not lead to an authority. */
const UNTRUSTED =
  /^(UNABLE_TO_|SELF_SIGNED_|DEPTH_ZERO_|CERT_|INVALID_CA$|INVALID_PURPOSE$|PATH_LENGTH_EXCEEDED$|HOSTNAME_MISMATCH$)/;
/** Alerts about what we have shown, or have not. RFC 8446, 6.2. */
const CLIENT_CERTIFICATE =
  /ALERT_(CERTIFICATE_REQUIRED|BAD_CERTIFICATE|UNSUPPORTED_CERTIFICATE|CERTIFICATE_REVOKED|CERTIFICATE_EXPIRED|CERTIFICATE_UNKNOWN|UNKNOWN_CA|ACCESS_DENIED)$/;
/** No common version; or what was read is no TLS at all, such as an answer in plain HTTP. */
const VERSION =
  /(ALERT_PROTOCOL_VERSION|UNSUPPORTED_PROTOCOL|WRONG_VERSION_NUMBER|WRONG_SSL_VERSION|NO_PROTOCOLS_AVAILABLE|HTTP_REQUEST|PACKET_LENGTH_TOO_LONG|BAD_PROTOCOL_VERSION_NUMBER)$/;

/** By the code of the error that ended a handshake. */
export function failureOf(code: string): TlsFailure {
  if (code === NO_CERTIFICATES) return 'tls-certificates';
  if (code === NO_HTTP2 || code.endsWith('ALERT_NO_APPLICATION_PROTOCOL')) return 'tls-no-http2';
  if (EXPIRED.has(code)) return 'tls-expired';
  if (WRONG_NAME.has(code) || code.endsWith('UNRECOGNIZED_NAME')) return 'tls-name';
  if (UNTRUSTED.test(code)) return 'tls-authority';
  if (CLIENT_CERTIFICATE.test(code)) return 'tls-client-certificate';
  if (VERSION.test(code)) return 'tls-version';
  return 'tls-handshake';
}

/**
 * In TLS 1.3 a server looks at the certificate of a client when the client is through with its handshake and may have sent a request. An
 * alert about it, with nothing before it, says that the server has not taken the connection, nor anything that came on it.
 */
export function refusesClient(code: string): boolean {
  return CLIENT_CERTIFICATE.test(code);
}
