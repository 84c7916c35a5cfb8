/** Compares a text with the content of a file, which ends with a line break. */
export declare function expectGolden(file: string, actual: string): void;
