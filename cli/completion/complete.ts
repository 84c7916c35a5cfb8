// What may stand where the cursor is: from the definitions of the commands alone. Pure; the scripts of the shells ask it at every Tab, and so
// does kubectl for its plugin. The answer has the form that kubectl's own commands give (Cobra's), so that kubectl can pass it on.
import type { Argument, Command, Option } from 'commander';

export interface Candidate {
  value: string;
  description: string;
}

/** Cobra's numbers, added up: what the shell is to do with the candidates. */
export const DIRECTIVES = { noSpace: 2, noFiles: 4, fileEndings: 8, folders: 16 } as const;

export interface Completion {
  /** Where the directive says `fileEndings`, these are the endings. */
  candidates: readonly Candidate[];
  directive: number;
}

/** What stands for arguments and values of options of these names. Anything else is a word that nobody can guess. */
export interface ValueSource {
  completion: Completion;
  names: readonly string[];
}

const NOTHING: Completion = { candidates: [], directive: DIRECTIVES.noFiles };

/** `words`: what follows the name of the program, up to the cursor; the last one is being written, and may be empty. */
export function complete(program: Command, words: readonly string[], sources: readonly ValueSource[]): Completion {
  const before = words.slice(0, -1);
  const current = words.at(-1) ?? '';
  const at = walk(program, before);
  if (at.awaits !== undefined) return valuesOf(at.awaits, current, sources);
  if (current.startsWith('-') && !at.onlyArguments) return flagsOf(at.command, current, at.used, sources);
  const commands = subcommandsOf(at.command);
  if (commands.length > 0 && at.position === 0) {
    const candidates = commands.map((one) => ({ value: one.name(), description: one.description() }));
    return { candidates: startingWith(candidates, current), directive: DIRECTIVES.noFiles };
  }
  const args = at.command.registeredArguments;
  const argument = args[at.position] ?? (args.at(-1)?.variadic === true ? args.at(-1) : undefined);
  return argument === undefined ? NOTHING : valuesOf(argument, current, sources);
}

interface Place {
  command: Command;
  /** Arguments of the command before the cursor. */
  position: number;
  used: ReadonlySet<Option>;
  /** The option whose value is being written. */
  awaits: Option | undefined;
  /** After "--". */
  onlyArguments: boolean;
}

function walk(program: Command, words: readonly string[]): Place {
  const used = new Set<Option>();
  let command = program;
  let position = 0;
  let awaits: Option | undefined;
  let onlyArguments = false;
  for (const word of words) {
    if (awaits !== undefined) awaits = undefined;
    else if (word === '--' && !onlyArguments) onlyArguments = true;
    else if (word.startsWith('-') && word.length > 1 && !onlyArguments) {
      const [flag = ''] = word.split('=', 1);
      const option = optionOf(command, flag);
      if (option === undefined) continue;
      used.add(option);
      if (takesValue(option) && !word.includes('=')) awaits = option;
    } else {
      const sub = position === 0 ? subcommandsOf(command).find((one) => one.name() === word) : undefined;
      if (sub === undefined) position += 1;
      else command = sub;
    }
  }
  return { command, position, used, awaits, onlyArguments };
}

const optionOf = (command: Command, flag: string): Option | undefined =>
  command.options.find(({ long, short }) => flag === long || flag === short);

const takesValue = ({ required, optional }: Option): boolean => required || optional;

const subcommandsOf = (command: Command): readonly Command[] => command.createHelp().visibleCommands(command);

/** Options that are not there yet, or may be there several times; the values of one that is written with "=". */
function flagsOf(
  command: Command,
  current: string,
  used: ReadonlySet<Option>,
  sources: readonly ValueSource[],
): Completion {
  const equals = current.indexOf('=');
  if (equals > 0) {
    const option = optionOf(command, current.slice(0, equals));
    if (option === undefined || !takesValue(option)) return NOTHING;
    const { candidates, directive } = valuesOf(option, current.slice(equals + 1), sources);
    // Endings of files are no values, and a shell that has split the word at "=" completes files by itself.
    if ((directive & DIRECTIVES.fileEndings) !== 0) return { candidates, directive };
    const prefix = current.slice(0, equals + 1);
    return { candidates: candidates.map((one) => ({ ...one, value: prefix + one.value })), directive };
  }
  const candidates = command
    .createHelp()
    .visibleOptions(command)
    .filter((option) => option.parseArg !== undefined || !used.has(option))
    .map(({ long, short, description }) => ({ value: long ?? short ?? '', description }));
  return { candidates: startingWith(candidates, current), directive: DIRECTIVES.noFiles };
}

function valuesOf(what: Option | Argument, current: string, sources: readonly ValueSource[]): Completion {
  if (what.argChoices !== undefined) {
    const candidates = what.argChoices.map((value) => ({ value, description: '' }));
    return { candidates: startingWith(candidates, current), directive: DIRECTIVES.noFiles };
  }
  const name = 'attributeName' in what ? what.attributeName() : what.name();
  const source = sources.find(({ names }) => names.includes(name));
  if (source === undefined) return NOTHING;
  const { candidates, directive } = source.completion;
  const isEndings = (directive & DIRECTIVES.fileEndings) !== 0;
  return { candidates: isEndings ? candidates : startingWith(candidates, current), directive };
}

const startingWith = (candidates: readonly Candidate[], start: string): Candidate[] =>
  candidates.filter(({ value }) => value.startsWith(start));

/** One candidate a line, with what it means after a tab; then the directive. */
export function completionLines({ candidates, directive }: Completion): string[] {
  const lines = candidates.map(({ value, description }) => (description === '' ? value : `${value}\t${description}`));
  return [...lines, `:${directive}`];
}
