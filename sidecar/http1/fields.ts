// Field lines, one after the other, without allocation: a cursor validates every byte and leaves offsets.
//
// Strict: a line is `name ":" OWS value OWS CRLF` with a token as name. Folding, bare CR or LF, white space before the colon and control
// characters are refused, because readers behind us disagree about each of them.
import { equalsAsVariable, equalsIgnoringCase, isTokenCharacter, isValueCharacter } from './characters.ts';
import { HeadDetail } from './errors.ts';
import { MAX_FIELDS } from './limits.ts';

const CR = 0x0d;
const LF = 0x0a;
const SP = 0x20;
const HTAB = 0x09;
const COLON = 0x3a;

/** Fields that a parser looks at; everything else is `Other`. */
export const FieldId = {
  Other: 0,
  Host: 1,
  Connection: 2,
  KeepAlive: 3,
  ProxyConnection: 4,
  Te: 5,
  TransferEncoding: 6,
  ContentLength: 7,
  Upgrade: 8,
  Expect: 9,
  CorrelationId: 10,
  IdempotencyKey: 11,
  ContentType: 12,
  RetryAfter: 13,
  Http2Settings: 14,
  Lookalike: 15,
  Accept: 16,
  Traceparent: 17,
  Tracestate: 18,
  BreakwaterAttempt: 19,
  BreakwaterDeadline: 20,
  /** Says that an answer is not to be asked for again, in one convention or another. */
  RetryAdvice: 21,
  /** Some servers take it for a field of ours ("_" for "-"), and would read its value in the place of what we write. */
  OwnTwin: 22,
} as const;

export class FieldCursor {
  #text = '';
  #position = 0;
  #count = 0;
  /** Index of the CR before the field's line: a run of lines [lineStart of the first, lineEnd of the last) can be forwarded as it is. */
  lineStart = 0;
  nameStart = 0;
  nameEnd = 0;
  /** The value without the white space around it. */
  valueStart = 0;
  valueEnd = 0;
  /** Index after the last byte of the line, before its CRLF. */
  lineEnd = 0;
  /** 0, or why `next` returned false. */
  detail: number = HeadDetail.None;

  /** `position` is the end of the start line: the end of `text`, or a CR. */
  open(text: string, position: number): void {
    this.#text = text;
    this.#position = position;
    this.#count = 0;
    this.detail = HeadDetail.None;
  }

  /** Lets go of the text. */
  close(): void {
    this.#text = '';
  }

  /** Moves to the next field; false at the end (detail 0) or at an error. */
  next(): boolean {
    const text = this.#text;
    const position = this.#position;
    if (position >= text.length) return false;
    if (text.charCodeAt(position) !== CR || text.charCodeAt(position + 1) !== LF)
      return this.#refuse(HeadDetail.BareCarriageReturn);
    this.#count += 1;
    if (this.#count > MAX_FIELDS) return this.#refuse(HeadDetail.FieldCount);
    this.lineStart = position;
    this.nameStart = position + 2;
    return this.#name() && this.#value();
  }

  /**
   * Whether a tab stands around the value. Allowed, but parsers in wide use skip spaces only there, and then read "chunked" + tab as
   * another coding: not for fields that decide about the connection or the framing.
   */
  hasTabAroundValue(): boolean {
    for (let index = this.nameEnd + 1; index < this.valueStart; index += 1) {
      if (this.#text.charCodeAt(index) === HTAB) return true;
    }
    for (let index = this.valueEnd; index < this.lineEnd; index += 1) {
      if (this.#text.charCodeAt(index) === HTAB) return true;
    }
    return false;
  }

  #name(): boolean {
    const text = this.#text;
    let index = this.nameStart;
    let code = text.charCodeAt(index);
    while (isTokenCharacter(code)) {
      index += 1;
      code = text.charCodeAt(index);
    }
    if (code !== COLON) return this.#refuse(nameProblem(code, index === this.nameStart));
    if (index === this.nameStart) return this.#refuse(HeadDetail.EmptyFieldName);
    this.nameEnd = index;
    return true;
  }

  #value(): boolean {
    const text = this.#text;
    const length = text.length;
    let index = this.nameEnd + 1;
    while (index < length && isBlank(text.charCodeAt(index))) index += 1;
    this.valueStart = index;
    while (index < length && isValueCharacter(text.charCodeAt(index))) index += 1;
    if (index < length) {
      const code = text.charCodeAt(index);
      if (code === LF) return this.#refuse(HeadDetail.BareLineFeed);
      if (code !== CR) return this.#refuse(HeadDetail.ValueCharacter);
      if (text.charCodeAt(index + 1) !== LF) return this.#refuse(HeadDetail.BareCarriageReturn);
    }
    this.lineEnd = index;
    this.#position = index;
    while (index > this.valueStart && isBlank(text.charCodeAt(index - 1))) index -= 1;
    this.valueEnd = index;
    return true;
  }

  #refuse(detail: number): boolean {
    this.detail = detail;
    return false;
  }
}

/** Space or tab: what may stand around a value. */
export function isBlank(code: number): boolean {
  return code === SP || code === HTAB;
}

function nameProblem(code: number, atStart: boolean): number {
  if (code === SP || code === HTAB) return atStart ? HeadDetail.FoldedLine : HeadDetail.SpaceBeforeColon;
  if (code === LF) return HeadDetail.BareLineFeed;
  // The end of the text, or an empty line inside it.
  if (code === CR || Number.isNaN(code)) return atStart ? HeadDetail.EmptyFieldName : HeadDetail.NoColon;
  return HeadDetail.FieldNameCharacter;
}

/** The id of the field name in [start, end). Length decides first, so that most names cost one comparison of numbers. */
export function fieldId(text: string, start: number, end: number): number {
  switch (end - start) {
    case 2:
      return equalsIgnoringCase(text, start, end, 'te') ? FieldId.Te : FieldId.Other;
    case 4:
      return equalsIgnoringCase(text, start, end, 'host') ? FieldId.Host : FieldId.Other;
    case 6:
      if (equalsIgnoringCase(text, start, end, 'accept')) return FieldId.Accept;
      return equalsIgnoringCase(text, start, end, 'expect') ? FieldId.Expect : FieldId.Other;
    case 7:
      return equalsIgnoringCase(text, start, end, 'upgrade') ? FieldId.Upgrade : FieldId.Other;
    case 10:
      if (equalsIgnoringCase(text, start, end, 'connection')) return FieldId.Connection;
      if (equalsIgnoringCase(text, start, end, 'tracestate')) return FieldId.Tracestate;
      return equalsIgnoringCase(text, start, end, 'keep-alive') ? FieldId.KeepAlive : FieldId.Other;
    case 11:
      if (equalsIgnoringCase(text, start, end, 'traceparent')) return FieldId.Traceparent;
      return equalsIgnoringCase(text, start, end, 'retry-after') ? FieldId.RetryAfter : FieldId.Other;
    case 12:
      return equalsIgnoringCase(text, start, end, 'content-type') ? FieldId.ContentType : FieldId.Other;
    case 14:
      if (equalsIgnoringCase(text, start, end, 'content-length')) return FieldId.ContentLength;
      if (equalsIgnoringCase(text, start, end, 'content_length')) return FieldId.Lookalike;
      if (equalsIgnoringCase(text, start, end, 'x-should-retry')) return FieldId.RetryAdvice;
      return equalsIgnoringCase(text, start, end, 'http2-settings') ? FieldId.Http2Settings : FieldId.Other;
    case 15:
      return equalsIgnoringCase(text, start, end, 'idempotency-key') ? FieldId.IdempotencyKey : FieldId.Other;
    case 16:
      if (equalsIgnoringCase(text, start, end, 'x-correlation-id')) return FieldId.CorrelationId;
      if (equalsIgnoringCase(text, start, end, 'proxy-connection')) return FieldId.ProxyConnection;
      return equalsAsVariable(text, start, end, 'x-correlation-id') ? FieldId.OwnTwin : FieldId.Other;
    case 17:
      if (equalsIgnoringCase(text, start, end, 'transfer-encoding')) return FieldId.TransferEncoding;
      return equalsIgnoringCase(text, start, end, 'transfer_encoding') ? FieldId.Lookalike : FieldId.Other;
    case 18:
      return equalsIgnoringCase(text, start, end, 'x-breakwater-retry') ? FieldId.RetryAdvice : FieldId.Other;
    case 19:
      return equalsIgnoringCase(text, start, end, 'stripe-should-retry') ? FieldId.RetryAdvice : FieldId.Other;
    case 20:
      if (equalsIgnoringCase(text, start, end, 'x-breakwater-attempt')) return FieldId.BreakwaterAttempt;
      return equalsAsVariable(text, start, end, 'x-breakwater-attempt') ? FieldId.OwnTwin : FieldId.Other;
    case 21:
      if (equalsIgnoringCase(text, start, end, 'x-breakwater-deadline')) return FieldId.BreakwaterDeadline;
      return equalsAsVariable(text, start, end, 'x-breakwater-deadline') ? FieldId.OwnTwin : FieldId.Other;
    case 22:
      return equalsIgnoringCase(text, start, end, 'grpc-retry-pushback-ms') ? FieldId.RetryAdvice : FieldId.Other;
    default:
      return FieldId.Other;
  }
}
