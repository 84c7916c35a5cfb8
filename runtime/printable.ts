// What others wrote, in texts of ours: annotations hold any character, and these texts go to terminals, logs, statuses and Events.

/** Beyond what JSON escapes: DEL and the C1 controls, invisible marks, and what ends a line or turns the direction of reading. */
const INVISIBLE = /[\u007f-\u009f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]/g;

/** In quotes, at most `max` characters of it, and nothing but what can be seen. */
export function quoted(text: string, max: number): string {
  const shown = text.length > max ? `${text.slice(0, max)}…` : text;
  return JSON.stringify(shown).replaceAll(
    INVISIBLE,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}

/** As much of it from the start as fits into so many bytes of UTF-8; no character is cut in two. */
export function cutToBytes(text: string, maxBytes: number): string {
  // A character of JavaScript is one byte at least, so that nothing longer has to be measured.
  const bytes = Buffer.from(text.slice(0, maxBytes));
  if (bytes.length <= maxBytes) return text.slice(0, maxBytes).toWellFormed();
  let end = maxBytes;
  while (end > 0 && ((bytes[end] ?? 0) & 0xc0) === 0x80) end--;
  return bytes.toString('utf8', 0, end);
}
