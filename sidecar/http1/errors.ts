// Why a message was refused. Parsers return one number (0: accepted), so that the hot path allocates nothing; the text is looked up
// only when an answer is written.

/** Which answer a refusal becomes: 400, 431 or 414. */
export const HeadError = { None: 0, Malformed: 1, HeadTooLarge: 2, TargetTooLong: 3 } as const;
export type HeadErrorClass = (typeof HeadError)[keyof typeof HeadError];

export const HeadDetail = {
  None: 0,
  EmptyHead: 1,
  BadMethod: 2,
  BadRequestLine: 3,
  BadTarget: 4,
  TargetCharacter: 5,
  Fragment: 6,
  AsteriskMethod: 7,
  ConnectRefused: 8,
  AbsoluteScheme: 9,
  AbsoluteAuthority: 10,
  BadVersion: 11,
  UnsupportedVersion: 12,
  BadStatusLine: 13,
  BadStatus: 14,
  BareCarriageReturn: 15,
  BareLineFeed: 16,
  FoldedLine: 17,
  EmptyFieldName: 18,
  FieldNameCharacter: 19,
  SpaceBeforeColon: 20,
  NoColon: 21,
  ValueCharacter: 22,
  MissingHost: 23,
  TwoHosts: 24,
  BadHost: 25,
  TwoContentLengths: 26,
  BadContentLength: 27,
  TwoTransferEncodings: 28,
  BadTransferEncoding: 29,
  TransferEncodingInHttp10: 30,
  LengthAndEncoding: 31,
  LookalikeField: 32,
  BadConnection: 33,
  BadExpect: 34,
  BadUpgrade: 35,
  TraceContent: 36,
  FramedNoContent: 37,
  TabAroundValue: 38,
  ChunkSize: 40,
  ChunkSizeTooLarge: 41,
  ChunkExtension: 42,
  ChunkExtensionsTooLong: 43,
  ChunkLineEnd: 44,
  ChunkDataEnd: 45,
  TrailerLineEnd: 46,
  TrailerTooLong: 47,
  HeadBytes: 100,
  FieldCount: 101,
  TargetBytes: 110,
} as const;

const MESSAGES: Readonly<Record<number, string>> = {
  [HeadDetail.None]: '',
  [HeadDetail.EmptyHead]: 'the message starts with an empty line',
  [HeadDetail.BadMethod]: 'the method is not a token of at most 64 characters',
  [HeadDetail.BadRequestLine]: 'the request line is not "method target version" with single spaces',
  [HeadDetail.BadTarget]: 'the request target is neither a path nor an absolute URI nor "*"',
  [HeadDetail.TargetCharacter]: 'the request target holds a character outside printable ASCII',
  [HeadDetail.Fragment]: 'the request target holds a fragment ("#")',
  [HeadDetail.AsteriskMethod]: 'the request target "*" belongs to OPTIONS alone',
  [HeadDetail.ConnectRefused]: 'CONNECT is for forward proxies, and this is none',
  [HeadDetail.AbsoluteScheme]: 'the scheme of the absolute request target is not http',
  [HeadDetail.AbsoluteAuthority]: 'the absolute request target names another authority than Host',
  [HeadDetail.BadVersion]: 'the version is not written as HTTP/1.1',
  [HeadDetail.UnsupportedVersion]: 'the version is neither HTTP/1.0 nor HTTP/1.1',
  [HeadDetail.BadStatusLine]: 'the status line is not "version status reason"',
  [HeadDetail.BadStatus]: 'the status is not a number from 100 to 999',
  [HeadDetail.BareCarriageReturn]: 'a carriage return without line feed',
  [HeadDetail.BareLineFeed]: 'a line feed without carriage return',
  [HeadDetail.FoldedLine]: 'a field line starts with white space (line folding)',
  [HeadDetail.EmptyFieldName]: 'a field without name',
  [HeadDetail.FieldNameCharacter]: 'a field name holds a character that names cannot have',
  [HeadDetail.SpaceBeforeColon]: 'white space between field name and colon',
  [HeadDetail.NoColon]: 'a field line without colon',
  [HeadDetail.ValueCharacter]: 'a control character in a field value',
  [HeadDetail.MissingHost]: 'no Host field',
  [HeadDetail.TwoHosts]: 'two Host fields',
  [HeadDetail.BadHost]: 'Host is not one host name or address with an optional port',
  [HeadDetail.TwoContentLengths]: 'two Content-Length fields',
  [HeadDetail.BadContentLength]: 'Content-Length is not one plain decimal number',
  [HeadDetail.TwoTransferEncodings]: 'two Transfer-Encoding fields',
  [HeadDetail.BadTransferEncoding]: 'Transfer-Encoding is not exactly "chunked"',
  [HeadDetail.TransferEncodingInHttp10]: 'Transfer-Encoding in an HTTP/1.0 message',
  [HeadDetail.LengthAndEncoding]: 'both Content-Length and Transfer-Encoding',
  [HeadDetail.LookalikeField]: 'a field that some servers take for a framing field ("_" for "-")',
  [HeadDetail.BadConnection]: 'Connection is not a list of names',
  [HeadDetail.BadExpect]: 'Expect is not exactly "100-continue"',
  [HeadDetail.BadUpgrade]: 'Upgrade is not a list of protocols',
  [HeadDetail.TraceContent]: 'TRACE with content',
  [HeadDetail.FramedNoContent]: 'a response without content (1xx, 204) announces content',
  [HeadDetail.TabAroundValue]: 'a tab around the value of a field that is about the connection or the framing',
  [HeadDetail.ChunkSize]: 'the size of a chunk is not a hexadecimal number',
  [HeadDetail.ChunkSizeTooLarge]: 'the size of a chunk is too large',
  [HeadDetail.ChunkExtension]: 'a malformed chunk extension',
  [HeadDetail.ChunkExtensionsTooLong]: 'too many bytes of chunk extensions',
  [HeadDetail.ChunkLineEnd]: 'the line of a chunk size does not end with CR LF',
  [HeadDetail.ChunkDataEnd]: 'a chunk does not end with CR LF where its size says',
  [HeadDetail.TrailerLineEnd]: 'a trailer line does not end with CR LF',
  [HeadDetail.TrailerTooLong]: 'the trailer section is too long',
  [HeadDetail.HeadBytes]: 'the head is larger than 16384 bytes',
  [HeadDetail.FieldCount]: 'more than 100 fields',
  [HeadDetail.TargetBytes]: 'the request target is longer than 8192 bytes',
};

/** What was wrong, for people; empty for 0. */
export function headErrorDetail(detail: number): string {
  return MESSAGES[detail] ?? 'malformed message';
}

export function headErrorClass(detail: number): HeadErrorClass {
  if (detail === HeadDetail.None) return HeadError.None;
  if (detail === HeadDetail.TargetBytes) return HeadError.TargetTooLong;
  if (detail === HeadDetail.HeadBytes || detail === HeadDetail.FieldCount) return HeadError.HeadTooLarge;
  return HeadError.Malformed;
}
