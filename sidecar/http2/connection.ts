// One connection of HTTP/2 without its socket, of either side (RFC 9113): bytes that came go in, streams and their owners are told, and what is
// to be written goes to an output that whoever holds the socket empties.
//
// What a peer may do wrong ends either one stream or the connection, as the RFC says; what it may do without end has a budget (limits.ts), and so
// has what it makes us do: resets, answers to frames that mean nothing, and content that nobody reads.
//
// Here is what the peer may say, frame by frame, and which streams there are: each rule asks the same few facts about these, so it is one file. What has an
// invariant of its own is apart: reading (frame-reader.ts, field-section.ts), sending (frame-writer.ts), windows, resets, the stream itself.
import type { ConnectionOwner } from './connection-owner.ts';
import { ErrorCode } from './error-code.ts';
import { FieldSection } from './field-section.ts';
import { FrameReader, type FrameReceiver } from './frame-reader.ts';
import { FrameWriter, type Output } from './frame-writer.ts';
import {
  Flag,
  FrameType,
  goAwayFrame,
  MAX_STREAM_ID,
  PREFACE,
  pingFrame,
  resetFrame,
  SETTINGS_ACK,
  windowUpdateFrame,
} from './frames.ts';
import { MAX_CONCURRENT_STREAMS, MAX_INVALID_FRAMES, MAX_REFUSED_STREAMS, MAX_WAITING_BYTES } from './limits.ts';
import { openingFrames } from './opening.ts';
import { PeerSettings } from './peer-settings.ts';
import { ReceiveWindow } from './receive-window.ts';
import { SentResets } from './sent-resets.ts';
import { Http2Stream } from './stream.ts';

export class Http2Connection implements FrameReceiver {
  readonly #isServer: boolean;
  readonly #owner: ConnectionOwner;
  /** What it sends, for its streams. */
  readonly writer: FrameWriter;
  readonly #reader = new FrameReader(this);
  readonly #section = new FieldSection();
  readonly #peer = new PeerSettings();
  readonly #streams = new Map<number, Http2Stream>();
  readonly #resets = new SentResets();
  readonly #receiveWindow = new ReceiveWindow();
  readonly #streamWindow: number;
  /** Bytes of the preface that have come; of a client's peer none do. */
  #prefaceBytes: number;
  #settingsSeen = false;
  #isOver = false;
  #closing = false;
  /** The last stream of the peer that our GOAWAY says was taken: it may say no other later. */
  #lastTaken = MAX_STREAM_ID;
  #lastPeerStream = 0;
  #nextStream = 1;
  #invalidFrames = 0;
  #refusedStreams = 0;

  /** `streamWindow`: bytes that may be on their way in one stream to us. */
  constructor(isServer: boolean, streamWindow: number, out: Output, owner: ConnectionOwner) {
    this.#isServer = isServer;
    this.#streamWindow = streamWindow;
    this.writer = new FrameWriter(out);
    this.#owner = owner;
    this.#prefaceBytes = isServer ? 0 : PREFACE.length;
    this.writer.write(openingFrames(isServer, streamWindow));
  }

  get streamCount(): number {
    return this.#streams.size;
  }

  /** Content that came and waits for its readers. */
  get keptBytes(): number {
    return this.#receiveWindow.keptBytes;
  }

  /** So much of that waits that the peer may send nothing, in whatever stream, until some of it is read. */
  get isFull(): boolean {
    return this.#receiveWindow.isFull;
  }

  /** Nothing is read of it or written to it any more. */
  get isOver(): boolean {
    return this.#isOver;
  }

  // ---- what is said to it ------------------------------------------------------------------------------------------------------------

  /** Of a client: a stream whose fields are to be sent next. */
  open(): Http2Stream {
    const stream = new Http2Stream(this, this.#nextStream, this.#peer.initialWindowBytes, this.#streamWindow);
    this.#nextStream += 2;
    this.#streams.set(stream.id, stream);
    return stream;
  }

  /** Takes no further stream of the peer. Whether there are others is its owner's to see. */
  close(): void {
    if (this.#closing || this.#isOver) return;
    this.#closing = true;
    this.#sayGoAway(ErrorCode.NoError);
  }

  /** `pongCame` follows when it is answered. */
  ping(): void {
    this.writer.write(pingFrame(OUR_PING, false));
  }

  /** Ends it, and all its streams, for this reason. */
  fail(code: number): void {
    if (this.#isOver) return;
    this.#sayGoAway(code);
    this.end(code);
    this.#owner.failed(code);
  }

  #sayGoAway(code: number): void {
    this.#lastTaken = Math.min(this.#lastTaken, this.#lastPeerStream);
    this.writer.write(goAwayFrame(this.#lastTaken, code));
  }

  /** Its socket is gone, or is to go: its streams are told so. */
  end(code: number): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.writer.end();
    for (const stream of this.#streams.values()) this.#endStream(stream, code);
  }

  /** The peer reads again. */
  drained(): void {
    this.writer.sendWaiting();
  }

  // ---- for its streams ---------------------------------------------------------------------------------------------------------------

  sendReset(stream: Http2Stream, code: number): void {
    this.#resets.add(stream.id);
    this.writer.write(resetFrame(stream.id, code));
  }

  /** As `sendReset` with the end of it, for something that may not come. */
  refuse(stream: Http2Stream, code: number): void {
    this.sendReset(stream, code);
    stream.end();
    const failure = this.#countInvalid();
    if (failure !== ErrorCode.NoError) this.fail(failure);
  }

  /** The peer may send so much more in this stream. */
  widen(stream: number, bytes: number): void {
    this.writer.write(windowUpdateFrame(stream, bytes));
  }

  /** So many bytes more wait for their readers; below zero: fewer. */
  kept(bytes: number): void {
    this.#receiveWindow.keptBytes += bytes;
    if (bytes < 0) this.#widenConnection();
  }

  forget(stream: Http2Stream): void {
    this.writer.forget(stream);
    if (this.#streams.delete(stream.id)) this.#owner.streamOver();
  }

  // ---- what comes --------------------------------------------------------------------------------------------------------------------

  /** The bytes are gone after this call. */
  receive(buffer: Buffer, start: number, end: number): void {
    if (this.#isOver) return;
    let at = start;
    while (this.#prefaceBytes < PREFACE.length && at < end) {
      if (buffer[at++] !== PREFACE.charCodeAt(this.#prefaceBytes++)) {
        this.fail(ErrorCode.ProtocolError);
        return;
      }
    }
    if (at < end) this.#reader.read(buffer, at, end);
  }

  notAFrame(code: number): void {
    this.fail(code);
  }

  frameCame(type: number, flags: number, id: number, buffer: Buffer, start: number, end: number): boolean {
    const code = this.#judge(type, flags, id, buffer, start, end);
    if (code !== ErrorCode.NoError) this.fail(code);
    return !this.#isOver;
  }

  /** Answers why the connection is to end (an `ErrorCode`); 0: it goes on. */
  #judge(type: number, flags: number, id: number, buffer: Buffer, start: number, end: number): number {
    if (this.#section.stream !== 0 && (type !== FrameType.Continuation || id !== this.#section.stream))
      return ErrorCode.ProtocolError;
    if (!this.#settingsSeen && (type !== FrameType.Settings || (flags & Flag.Ack) !== 0))
      return ErrorCode.ProtocolError;
    switch (type) {
      case FrameType.Headers:
        return this.#headersCame(flags, id, buffer, start, end);
      case FrameType.Continuation:
        return this.#continuationCame(flags, buffer, start, end);
      case FrameType.Settings:
        return this.#settingsCame(flags, id, buffer, start, end);
      case FrameType.WindowUpdate:
        return this.#windowUpdateCame(id, buffer, start, end);
      case FrameType.RstStream:
        return this.#resetCame(id, buffer, start, end);
      case FrameType.Ping:
        return this.#pingCame(flags, id, buffer, start, end);
      case FrameType.GoAway:
        return this.#goAwayCame(id, buffer, start, end);
      case FrameType.Priority:
        return this.#priorityCame(id, buffer, start, end);
      case FrameType.PushPromise:
        return ErrorCode.ProtocolError;
      default:
        return this.#owner.takesControlFrame() ? ErrorCode.NoError : ErrorCode.EnhanceYourCalm;
    }
  }

  // ---- field sections ----------------------------------------------------------------------------------------------------------------

  #headersCame(flags: number, id: number, buffer: Buffer, start: number, end: number): number {
    if (id === 0 || id % 2 === 0 || (!this.#isServer && id >= this.#nextStream)) return ErrorCode.ProtocolError;
    const section = this.#section;
    const malformed = section.locate(flags, id, buffer, start, end);
    if (malformed !== ErrorCode.NoError) return malformed;
    const endStream = (flags & Flag.EndStream) !== 0;
    if ((flags & Flag.EndHeaders) === 0) {
      section.begin(id, endStream, buffer);
      return ErrorCode.NoError;
    }
    const code = section.decode(buffer, section.from, section.to);
    return code === ErrorCode.NoError ? this.#sectionCame(id, endStream) : code;
  }

  #continuationCame(flags: number, buffer: Buffer, start: number, end: number): number {
    const { stream: id, endStream } = this.#section;
    if (id === 0) return ErrorCode.ProtocolError;
    if (!this.#section.goOn(buffer.subarray(start, end))) return ErrorCode.EnhanceYourCalm;
    if ((flags & Flag.EndHeaders) === 0) return ErrorCode.NoError;
    const code = this.#section.end();
    return code === ErrorCode.NoError ? this.#sectionCame(id, endStream) : code;
  }

  #sectionCame(id: number, ended: boolean): number {
    const stream = this.#streams.get(id);
    if (!stream)
      return this.#isServer && id > this.#lastPeerStream ? this.#streamCame(id, ended) : this.#lateSection(id);
    if (stream.peerEnded) return this.#refuseStream(stream, ErrorCode.StreamClosed);
    if (this.#section.dependsOnItself) return this.#refuseStream(stream, ErrorCode.ProtocolError);
    if (this.#section.tooLarge) return this.#refuseStream(stream, ErrorCode.EnhanceYourCalm);
    stream.receiveFields(this.#section.fields, ended);
    return ErrorCode.NoError;
  }

  /** A stream of the peer begins. */
  #streamCame(id: number, ended: boolean): number {
    this.#lastPeerStream = id;
    if (this.#closing || this.#streams.size >= MAX_CONCURRENT_STREAMS || this.writer.waitingBytes > MAX_WAITING_BYTES) {
      this.#answerReset(id, ErrorCode.RefusedStream);
      return ++this.#refusedStreams > MAX_REFUSED_STREAMS ? ErrorCode.EnhanceYourCalm : ErrorCode.NoError;
    }
    const stream = new Http2Stream(this, id, this.#peer.initialWindowBytes, this.#streamWindow);
    this.#streams.set(id, stream);
    stream.peerEnded = ended;
    if (this.#section.dependsOnItself) return this.#refuseStream(stream, ErrorCode.ProtocolError);
    if (this.#section.tooLarge) return this.#refuseStream(stream, ErrorCode.EnhanceYourCalm);
    this.#owner.streamBegan(stream, this.#section.fields, ended);
    return ErrorCode.NoError;
  }

  /** Of a stream that is over: no error where we have ended it, but none of it has a window either. */
  #lateSection(id: number): number {
    if (!this.#resets.has(id)) return ErrorCode.StreamClosed;
    const takes = this.#resets.takesLateFrame() || this.#owner.takesControlFrame();
    return takes ? ErrorCode.NoError : ErrorCode.EnhanceYourCalm;
  }

  // ---- content -----------------------------------------------------------------------------------------------------------------------

  dataBegan(id: number, bytes: number, padding: number, endStream: boolean): boolean {
    const code = this.#judgeData(id, bytes, bytes > padding || endStream);
    if (code !== ErrorCode.NoError) this.fail(code);
    if (this.#isOver) return false;
    this.#streams.get(id)?.giveBack(padding);
    return true;
  }

  /** `brings`: content, or its end. */
  #judgeData(id: number, bytes: number, brings: boolean): number {
    if (this.#section.stream !== 0 || !this.#settingsSeen || id === 0 || this.#isIdle(id))
      return ErrorCode.ProtocolError;
    if (!this.#receiveWindow.use(bytes)) return ErrorCode.FlowControlError;
    if (!brings && !this.#owner.takesControlFrame()) return ErrorCode.EnhanceYourCalm;
    const stream = this.#streams.get(id);
    if (!stream) {
      if (this.#resets.has(id)) return ErrorCode.NoError;
      this.#answerReset(id, ErrorCode.StreamClosed);
      return this.#countInvalid();
    }
    if (stream.peerEnded) return this.#refuseStream(stream, ErrorCode.StreamClosed);
    stream.receiveWindow -= bytes;
    return stream.receiveWindow < 0 ? this.#refuseStream(stream, ErrorCode.FlowControlError) : ErrorCode.NoError;
  }

  dataCame(id: number, buffer: Buffer, start: number, end: number): boolean {
    this.#streams.get(id)?.receive(buffer, start, end);
    return !this.#isOver;
  }

  dataEnded(id: number, endStream: boolean): boolean {
    if (endStream) this.#streams.get(id)?.receiveEnd();
    this.#widenConnection();
    return !this.#isOver;
  }

  #widenConnection(): void {
    const bytes = this.#isOver ? 0 : this.#receiveWindow.widen();
    if (bytes > 0) this.widen(0, bytes);
  }

  // ---- all else ----------------------------------------------------------------------------------------------------------------------

  #settingsCame(flags: number, id: number, buffer: Buffer, start: number, end: number): number {
    if (id !== 0) return ErrorCode.ProtocolError;
    if ((flags & Flag.Ack) !== 0) return end === start ? ErrorCode.NoError : ErrorCode.FrameSizeError;
    const windowBefore = this.#peer.initialWindowBytes;
    const code = this.#peer.read(buffer, start, end, this.#isServer);
    if (code !== ErrorCode.NoError) return code;
    if (this.#settingsSeen && !this.#owner.takesControlFrame()) return ErrorCode.EnhanceYourCalm;
    this.#settingsSeen = true;
    this.writer.setPeerTableBytes(this.#peer.headerTableBytes);
    this.writer.write(SETTINGS_ACK);
    const wider = this.#peer.initialWindowBytes - windowBefore;
    if (wider !== 0) {
      for (const stream of this.#streams.values())
        if (!this.writer.widenStream(stream, wider)) return ErrorCode.FlowControlError;
    }
    this.#owner.settingsCame(this.#peer.maxConcurrentStreams);
    if (wider > 0) this.writer.sendWaiting();
    return ErrorCode.NoError;
  }

  #windowUpdateCame(id: number, buffer: Buffer, start: number, end: number): number {
    if (end - start !== 4) return ErrorCode.FrameSizeError;
    if (this.#isIdle(id)) return ErrorCode.ProtocolError;
    const bytes = buffer.readUInt32BE(start) & 0x7fff_ffff;
    if (id === 0) {
      if (bytes === 0) return ErrorCode.ProtocolError;
      return this.writer.widen(bytes) ? ErrorCode.NoError : ErrorCode.FlowControlError;
    }
    const stream = this.#streams.get(id);
    if (!stream) return ErrorCode.NoError;
    if (bytes === 0) return this.#refuseStream(stream, ErrorCode.ProtocolError);
    if (!this.writer.widenStream(stream, bytes)) return this.#refuseStream(stream, ErrorCode.FlowControlError);
    this.writer.sendWaiting();
    return ErrorCode.NoError;
  }

  #resetCame(id: number, buffer: Buffer, start: number, end: number): number {
    if (end - start !== 4) return ErrorCode.FrameSizeError;
    if (id === 0 || this.#isIdle(id)) return ErrorCode.ProtocolError;
    const stream = this.#streams.get(id);
    if (!this.#takesReset(id, stream !== undefined)) return ErrorCode.EnhanceYourCalm;
    const code = buffer.readUInt32BE(start);
    if (code === ErrorCode.NoError && !this.#isServer) stream?.receiveStop();
    else if (stream) this.#endStream(stream, code);
    return ErrorCode.NoError;
  }

  /** A client may begin streams only to reset them. A server can end none but those that were begun, each once, at times when we do so too. */
  #takesReset(id: number, ofStream: boolean): boolean {
    if (this.#isServer) return this.#owner.takesReset();
    return ofStream || (this.#resets.has(id) && this.#resets.takesLateFrame()) || this.#owner.takesControlFrame();
  }

  #pingCame(flags: number, id: number, buffer: Buffer, start: number, end: number): number {
    if (id !== 0) return ErrorCode.ProtocolError;
    if (end - start !== 8) return ErrorCode.FrameSizeError;
    const payload = buffer.latin1Slice(start, end);
    if ((flags & Flag.Ack) !== 0) {
      if (payload === OUR_PING) this.#owner.pongCame();
      return ErrorCode.NoError;
    }
    if (!this.#owner.takesControlFrame()) return ErrorCode.EnhanceYourCalm;
    this.writer.write(pingFrame(payload, true));
    return ErrorCode.NoError;
  }

  /** Streams that the peer has not taken were not executed. */
  #goAwayCame(id: number, buffer: Buffer, start: number, end: number): number {
    if (id !== 0) return ErrorCode.ProtocolError;
    if (end - start < 8) return ErrorCode.FrameSizeError;
    if (!this.#owner.takesControlFrame()) return ErrorCode.EnhanceYourCalm;
    const last = buffer.readUInt32BE(start) & 0x7fff_ffff;
    this.#owner.goAwayCame(last);
    if (this.#isServer) return ErrorCode.NoError;
    for (const stream of this.#streams.values()) if (stream.id > last) this.#endStream(stream, ErrorCode.RefusedStream);
    return ErrorCode.NoError;
  }

  /** Priorities are not followed (RFC 9113, 5.3.2). */
  #priorityCame(id: number, buffer: Buffer, start: number, end: number): number {
    if (id === 0) return ErrorCode.ProtocolError;
    if (end - start !== 5) return ErrorCode.FrameSizeError;
    if (!this.#owner.takesControlFrame()) return ErrorCode.EnhanceYourCalm;
    if ((buffer.readUInt32BE(start) & 0x7fff_ffff) !== id) return ErrorCode.NoError;
    const stream = this.#streams.get(id);
    return stream ? this.#refuseStream(stream, ErrorCode.ProtocolError) : ErrorCode.ProtocolError;
  }

  // ---- streams -----------------------------------------------------------------------------------------------------------------------

  /** Nobody has begun it yet. */
  #isIdle(id: number): boolean {
    if (id === 0) return false;
    return id % 2 === 0 || (this.#isServer ? id > this.#lastPeerStream : id >= this.#nextStream);
  }

  /** Ends a stream of which something came that may not come, and tells its owner. */
  #refuseStream(stream: Http2Stream, code: number): number {
    this.sendReset(stream, code);
    this.#endStream(stream, code);
    return this.#countInvalid();
  }

  #countInvalid(): number {
    return ++this.#invalidFrames > MAX_INVALID_FRAMES ? ErrorCode.EnhanceYourCalm : ErrorCode.NoError;
  }

  #endStream(stream: Http2Stream, code: number): void {
    const { owner } = stream;
    stream.end();
    owner.resetCame(code);
  }

  /** Of a stream that nobody has. */
  #answerReset(id: number, code: number): void {
    this.#resets.add(id);
    this.writer.write(resetFrame(id, code));
  }
}

/** What a PING of ours says: any other answer is to none of them. */
const OUR_PING = 'breakwtr';
