// Bounds of everything one HTTP/1.1 message may make us hold. A message beyond them is refused, never cut.

/** Bytes of a head, from the first byte of the start line to the end of the empty line, both included. */
export const MAX_HEAD_BYTES = 16_384;
/** Field lines of a head, or of a trailer section. */
export const MAX_FIELDS = 100;
/** Bytes of a request target as it was sent. */
export const MAX_TARGET_BYTES = 8_192;
/** Bytes of a method; the registered ones have 17 at most. */
export const MAX_METHOD_BYTES = 64;
/** Bytes of the extensions of one message's chunks, all together: they carry nothing, and cost time. */
export const MAX_CHUNK_EXTENSION_BYTES = 4_096;
/** Digits of a chunk size, leading zeros included. */
export const MAX_CHUNK_SIZE_DIGITS = 16;
/** Bytes of a trailer section with its line ends. */
export const MAX_TRAILER_BYTES = 8_192;
/** Bytes of the 1xx before one answer, all together, each with INTERIM_COST_BYTES beside its fields: HTTP/2 has no other way to hold them back. */
export const MAX_INTERIM_BYTES = 262_144;
export const INTERIM_COST_BYTES = 256;
