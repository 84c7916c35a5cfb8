import { describe, expect, it } from 'vitest';
import { LOCAL_ANSWERS } from '../errors.ts';
import {
  answerOf,
  failureOf,
  NO_CERTIFICATES,
  NO_HTTP2,
  refusesClient,
  TLS_FAILURES,
  type TlsFailure,
} from './failures.ts';

/** Codes as Node and OpenSSL give them. */
const CODES: readonly (readonly [TlsFailure, readonly string[]])[] = [
  ['tls-certificates', [NO_CERTIFICATES]],
  ['tls-expired', ['CERT_HAS_EXPIRED', 'CERT_NOT_YET_VALID']],
  ['tls-name', ['ERR_TLS_CERT_ALTNAME_INVALID', 'ERR_SSL_TLSV1_UNRECOGNIZED_NAME']],
  [
    'tls-authority',
    [
      'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
      'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
      'SELF_SIGNED_CERT_IN_CHAIN',
      'DEPTH_ZERO_SELF_SIGNED_CERT',
      'CERT_REVOKED',
      'CERT_SIGNATURE_FAILURE',
      'INVALID_CA',
      'INVALID_PURPOSE',
    ],
  ],
  [
    'tls-client-certificate',
    [
      'ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED',
      'ERR_SSL_SSLV3_ALERT_BAD_CERTIFICATE',
      'ERR_SSL_TLSV1_ALERT_UNKNOWN_CA',
      'ERR_SSL_SSLV3_ALERT_CERTIFICATE_EXPIRED',
      'ERR_SSL_SSLV3_ALERT_CERTIFICATE_UNKNOWN',
      'ERR_SSL_TLSV1_ALERT_ACCESS_DENIED',
    ],
  ],
  [
    'tls-version',
    ['ERR_SSL_TLSV1_ALERT_PROTOCOL_VERSION', 'ERR_SSL_WRONG_VERSION_NUMBER', 'ERR_SSL_UNSUPPORTED_PROTOCOL'],
  ],
  ['tls-no-http2', [NO_HTTP2, 'ERR_SSL_TLSV1_ALERT_NO_APPLICATION_PROTOCOL']],
  [
    'tls-handshake',
    ['ECONNRESET', 'ERR_SSL_SSLV3_ALERT_HANDSHAKE_FAILURE', 'ERR_SSL_DECRYPTION_FAILED_OR_BAD_RECORD_MAC', ''],
  ],
];

describe('an error of a handshake', () => {
  it.each(CODES)('is told as %s', (failure, codes) => {
    for (const code of codes) expect([code, failureOf(code)]).toEqual([code, failure]);
  });

  it('of every kind is known here', () => {
    expect(CODES.map(([failure]) => failure).sort()).toEqual([...TLS_FAILURES].sort());
  });

  it('is answered as a connection that was not made, with words of its own', () => {
    const details = new Set(TLS_FAILURES.map((failure) => answerOf(failure).detail));
    expect(details.size).toBe(TLS_FAILURES.length);
    for (const failure of TLS_FAILURES) {
      const { code, status, grpcStatus } = LOCAL_ANSWERS.connectFailed;
      expect(answerOf(failure)).toMatchObject({ code, status, grpcStatus });
    }
    for (const failure of ['refused', 'toString', '']) expect(answerOf(failure)).toBe(LOCAL_ANSWERS.connectFailed);
  });

  it('says that nothing was taken, only where it is about our certificate', () => {
    for (const [failure, codes] of CODES)
      for (const code of codes) expect(refusesClient(code)).toBe(failure === 'tls-client-certificate');
  });
});
