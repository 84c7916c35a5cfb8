// What each side of a connection of HTTP/2 begins with.
import { DEFAULT_WINDOW_BYTES, PREFACE, Setting, settingsFrame, windowUpdateFrame } from './frames.ts';
import { CONNECTION_WINDOW_BYTES, MAX_CONCURRENT_STREAMS, MAX_FIELD_SECTION_BYTES } from './limits.ts';

/** `streamWindow`: bytes that may be on their way in one stream to us; what holds before the peer has read of it, or more. */
export function openingFrames(isServer: boolean, streamWindow: number): string {
  const ours: [number, number][] = [
    [Setting.InitialWindowSize, streamWindow],
    [Setting.MaxHeaderListSize, MAX_FIELD_SECTION_BYTES],
    isServer ? [Setting.MaxConcurrentStreams, MAX_CONCURRENT_STREAMS] : [Setting.EnablePush, 0],
  ];
  const window = windowUpdateFrame(0, CONNECTION_WINDOW_BYTES - DEFAULT_WINDOW_BYTES);
  return (isServer ? '' : PREFACE) + settingsFrame(ours) + window;
}
