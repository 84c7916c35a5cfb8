// The reference of the command line, written from the definitions of its commands and of what they print as JSON. Pure.
import type { Argument, Command, Option } from 'commander';
import { z } from 'zod';

type Table = (head: readonly string[], rows: readonly (readonly string[])[]) => string;

/** Every command with its arguments and options, as Markdown. */
export function commandReference(program: Command, table: Table): string {
  const help = program.createHelp();
  const sections = help.visibleCommands(program).map((command) => {
    const options = help.visibleOptions(command).filter(({ long }) => long !== '--help');
    const rows = [...command.registeredArguments.map(argumentRow), ...options.map(optionRow)];
    const usage = `\`${program.name()} ${command.name()} ${command.usage()}\``;
    const sentence = `${command.description().charAt(0).toUpperCase()}${command.description().slice(1)}.`;
    return [
      `### ${command.name()}`,
      usage,
      sentence,
      ...(rows.length === 0 ? [] : [table(['', 'default', ''], rows)]),
    ].join('\n\n');
  });
  return sections.join('\n\n');
}

function argumentRow(argument: Argument): string[] {
  const dots = argument.variadic ? '...' : '';
  const shown = argument.required ? `<${argument.name()}${dots}>` : `[${argument.name()}${dots}]`;
  return [`\`${shown}\``, '', described(argument.description, argument.argChoices)];
}

function optionRow({ flags, description, argChoices, defaultValue }: Option): string[] {
  const value = typeof defaultValue === 'string' ? `\`${defaultValue}\`` : '';
  return [`\`${flags}\``, value, described(description, argChoices)];
}

const described = (text: string, choices: readonly string[] | undefined) =>
  choices === undefined ? text : `${text}: ${choices.join(', ')}`;

interface Schema {
  type?: string | string[];
  description?: string;
  const?: unknown;
  enum?: unknown[];
  anyOf?: Schema[];
  items?: Schema;
  properties?: Record<string, Schema>;
}

/** Every field of a JSON output, as a table. */
export function jsonReference(schema: z.ZodType, table: Table): string {
  const rows: string[][] = [];
  const visit = (node: Schema, path: string) => {
    for (const [name, field] of Object.entries(propertiesOf(node))) {
      const at = path === '' ? name : `${path}.${name}`;
      rows.push([`\`${at}\``, typeOf(field), (field.description ?? '').replaceAll('<', '‹').replaceAll('>', '›')]);
      visit(field, `${at}${isList(field) ? '[]' : ''}`);
    }
  };
  visit(z.toJSONSchema(schema, { reused: 'inline', unrepresentable: 'any' }) as Schema, '');
  return table(['field', 'type', 'meaning'], rows);
}

const isList = (node: Schema): boolean => node.type === 'array';

function propertiesOf(node: Schema): Record<string, Schema> {
  if (node.properties !== undefined) return node.properties;
  if (node.items !== undefined) return propertiesOf(node.items);
  return Object.assign({}, ...(node.anyOf ?? []).map(propertiesOf)) as Record<string, Schema>;
}

function typeOf(node: Schema): string {
  if (node.const !== undefined) return JSON.stringify(node.const);
  if (node.enum !== undefined) return node.enum.join(', ');
  if (node.anyOf !== undefined) return [...new Set(node.anyOf.map(typeOf))].join(' or ');
  if (node.items !== undefined) return `list of ${typeOf(node.items)}`;
  if (node.type === undefined) return 'anything';
  return Array.isArray(node.type) ? node.type.join(' or ') : node.type;
}
