// Why a header block was refused. Each is an error of the connection, COMPRESSION_ERROR (RFC 9113, 4.3): after it the two tables are not
// known to be the same any more.

export const HpackError = {
  None: 0,
  Truncated: 1,
  IntegerTooLarge: 2,
  IndexZero: 3,
  IndexBeyondTable: 4,
  HuffmanEndOfString: 5,
  HuffmanPadding: 6,
  SizeUpdateLate: 7,
  SizeUpdateRepeated: 8,
  SizeUpdateTooLarge: 9,
} as const;

const MESSAGES: Readonly<Record<number, string>> = {
  [HpackError.None]: '',
  [HpackError.Truncated]: 'the header block ends inside a field',
  [HpackError.IntegerTooLarge]:
    'an integer of the header block is above 2^31-1 or longer than 5 octets after its prefix',
  [HpackError.IndexZero]: 'a field of the header block has index 0',
  [HpackError.IndexBeyondTable]: 'a field of the header block has an index that is beyond the dynamic table',
  [HpackError.HuffmanEndOfString]: 'a string of the header block holds the Huffman code of EOS',
  [HpackError.HuffmanPadding]:
    'a string of the header block has Huffman padding that is longer than 7 bits or not all ones',
  [HpackError.SizeUpdateLate]: 'the header block changes the size of the dynamic table after a field',
  [HpackError.SizeUpdateRepeated]: 'the header block changes the size of the dynamic table more than twice',
  [HpackError.SizeUpdateTooLarge]:
    'the header block makes the dynamic table larger than SETTINGS_HEADER_TABLE_SIZE allows',
};

/** What is wrong, for a log or the debug data of GOAWAY; '' for `None`. */
export function hpackErrorMessage(error: number): string {
  return MESSAGES[error] ?? '';
}
