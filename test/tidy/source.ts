// Reads a source file as the rules need it: what it imports, what it names and what it calls, each with its line.
import { readdirSync, readFileSync } from 'node:fs';
import { join, relative, resolve } from 'node:path';
import { parseAst } from 'vitest/node';

export const root = resolve(import.meta.dirname, '../..');
const SKIPPED_FOLDERS = new Set(['node_modules', '.git', '.build', 'coverage']);

/** Paths relative to the root of all files below `folder`, sorted. */
export function filesBelow(folder: string, ending: RegExp): string[] {
  const found: string[] = [];
  const walk = (directory: string) => {
    for (const entry of readdirSync(directory, { withFileTypes: true })) {
      if (SKIPPED_FOLDERS.has(entry.name)) continue;
      const path = join(directory, entry.name);
      if (entry.isDirectory()) walk(path);
      else if (entry.isFile() && ending.test(entry.name)) found.push(relative(root, path));
    }
  };
  walk(join(root, folder));
  return found.sort();
}

/** Something in a file that a rule may forbid: "Date.now", "setTimeout", "new Date()", "import node:fs", "any". */
export interface Finding {
  what: string;
  line: number;
}

export interface SourceFile {
  /** Relative to the root. */
  path: string;
  lines: number;
  /** Module names as written; relative ones resolved to paths relative to the root. */
  imports: readonly Finding[];
  /**
   * Identifiers and members of global objects: "process", "process.env", "Math.random"; and language constructs: "any", "!", "default".
   * "maxLength alone": an object that bounds a length beyond ten and says no size.
   */
  names: readonly Finding[];
}

export function readSource(path: string): SourceFile {
  const text = readFileSync(join(root, path), 'utf8');
  return inspect(text, path);
}

interface Node {
  type: string;
  start: number;
  [key: string]: unknown;
}

const isNode = (value: unknown): value is Node =>
  typeof value === 'object' && value !== null && typeof (value as { type?: unknown }).type === 'string';

/** Exported for the tests of the rules themselves. Throws where the text does not parse. */
export function inspect(text: string, path: string): SourceFile {
  const imports: Finding[] = [];
  const names: Finding[] = [];
  const lineOf = (node: Node) => text.slice(0, node.start).split('\n').length;
  const addImport = (source: unknown, node: Node) => {
    const name = isNode(source) ? source['value'] : undefined;
    if (typeof name === 'string') imports.push({ what: resolveImport(name, path), line: lineOf(node) });
  };
  const add = (what: string, node: Node) => names.push({ what, line: lineOf(node) });

  const visit = (node: Node, parent: Node | undefined) => {
    switch (node.type) {
      case 'ImportDeclaration':
      case 'ExportNamedDeclaration':
      case 'ExportAllDeclaration':
      case 'ImportExpression':
        addImport(node['source'], node);
        break;
      case 'TSImportType':
        addImport(node['source'] ?? node['argument'], node);
        break;
      case 'ExportDefaultDeclaration':
        add('export default', node);
        break;
      case 'TSAnyKeyword':
        add('any', node);
        break;
      case 'TSNonNullExpression':
        add('!', node);
        break;
      case 'NewExpression': {
        const { callee } = node;
        const args = node['arguments'];
        if (isNode(callee) && callee.type === 'Identifier' && Array.isArray(args) && args.length === 0)
          add(`new ${String(callee['name'])}()`, node);
        break;
      }
      case 'MemberExpression': {
        const { object, property } = node;
        if (isNode(object) && object.type === 'Identifier' && isNode(property)) {
          add(`${String(object['name'])}.${String(property['name'] ?? property['value'])}`, node);
        }
        break;
      }
      case 'ObjectExpression': {
        const values = new Map(propertiesOf(node));
        const most = values.get('maxLength') ?? values.get('maxCommands');
        if (typeof most === 'number' && most > 10 && !values.has('size')) add('maxLength alone', node);
        break;
      }
      case 'Identifier':
        if (!isOnlyAKey(node, parent)) add(String(node['name']), node);
        break;
      default:
    }
    for (const [key, value] of Object.entries(node)) {
      if (key === 'parent') continue;
      for (const child of Array.isArray(value) ? value : [value]) if (isNode(child)) visit(child, node);
    }
  };
  const program: unknown = parseAst(text, { lang: path.endsWith('.js') ? 'js' : 'ts' });
  if (isNode(program)) visit(program, undefined);
  return { path, lines: text.split('\n').length, imports, names };
}

/** Names of an object in the text, each with its value where that is a literal. */
function propertiesOf(object: Node): [name: string, literal: unknown][] {
  const properties = Array.isArray(object['properties']) ? object['properties'].filter(isNode) : [];
  return properties.map(({ key, value }) => [
    isNode(key) ? String(key['name'] ?? key['value']) : '',
    isNode(value) ? value['value'] : undefined,
  ]);
}

/** The name of a property or a type's member is no use of a global of that name. */
function isOnlyAKey(node: Node, parent: Node | undefined): boolean {
  if (parent === undefined) return false;
  if (parent.type === 'MemberExpression') return parent['property'] === node && parent['computed'] !== true;
  const keyed = [
    'Property',
    'PropertyDefinition',
    'MethodDefinition',
    'TSPropertySignature',
    'TSMethodSignature',
    'TSQualifiedName',
  ];
  if (!keyed.includes(parent.type)) return parent.type === 'TSTypeReference' || parent.type === 'ImportSpecifier';
  return parent['key'] === node && parent['value'] !== node && parent['shorthand'] !== true;
}

function resolveImport(name: string, from: string): string {
  return name.startsWith('.') ? relative(root, resolve(root, from, '..', name)) : name;
}
