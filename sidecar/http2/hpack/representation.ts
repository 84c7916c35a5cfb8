// How the first octet of each representation begins (RFC 7541, 6): of what is read and of what is written.

export const INDEXED = 0x80;
export const LITERAL_WITH_INDEXING = 0x40;
export const SIZE_UPDATE = 0x20;
export const LITERAL_NEVER_INDEXED = 0x10;
export const LITERAL = 0x00;
