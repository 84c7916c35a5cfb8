/** This process, in the names of what it leaves if it is killed: "4026531836-1234". */
export declare const PROCESS_MARK: string;
/** Whether the process of a mark is gone: false of one that cannot be known about, and of what is no mark. */
export declare function isAbandoned(mark: string): boolean;
/** A new folder; `purpose` is for people, in small letters and hyphens. What is left of it goes with this process, where that is not killed. */
export declare function temporaryFolder(purpose: string): string;
/** Removes below that folder what tests of this user made that were killed. */
export declare function removeAbandoned(directory: string): void;
