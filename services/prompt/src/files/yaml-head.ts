import type { JsonValue } from '@bufbuild/protobuf';
import { invalidArgument } from '@landfall/common/errors/errors.ts';
import { isScalar, Lexer, LineCounter, parseDocument, visit } from 'yaml';

/** Tokens of a head: what reading it costs. */
const MOST_TOKENS = 250_000;
/** Lists and maps within one another. */
const DEEPEST = 64;

/**
 * YAML as data: one document of plain values, without aliases, tags, or a key twice in a map. Bounded before it is parsed.
 * Lines in errors count from the line before the text, which is the file's first.
 * @throws LandfallError INVALID_ARGUMENT on `field`
 */
export function readHead(yaml: string, field: string): Record<string, JsonValue> {
  requireBounded(yaml, field);
  const lines = new LineCounter();
  const fail = (offset: number, what: string): never => {
    throw invalidArgument(field, `line ${lines.linePos(offset).line + 1}: ${what}`);
  };
  const document = parsed(yaml, lines, field);
  const [problem] = [...document.errors, ...document.warnings];
  if (problem) fail(problem.pos[0], problem.message.split('\n')[0]!.replace(/ at line .*$/, ''));
  visit(document, {
    Alias: (_key, alias) => fail(alias.range?.[0] ?? 0, 'an alias is not taken; write the value again'),
    // The parser's own check compares every pair of keys.
    Map: (_key, map) => {
      const seen = new Set<unknown>();
      for (const { key } of map.items) {
        const name = isScalar(key) ? String(key.value) : fail(map.range?.[0] ?? 0, 'a key must be a text');
        if (seen.has(name))
          fail((isScalar(key) && key.range?.[0]) || 0, `'${name.slice(0, 64)}' is there twice`);
        seen.add(name);
      }
    },
  });
  const data: unknown = document.toJS();
  if (typeof data !== 'object' || data === null || Array.isArray(data))
    throw invalidArgument(field, 'the head is no list of members');
  return data as Record<string, JsonValue>;
}

function requireBounded(yaml: string, field: string): void {
  let [tokens, depth] = [0, 0];
  for (const token of new Lexer().lex(yaml)) {
    if (token === '[' || token === '{') depth++;
    if (token === ']' || token === '}') depth--;
    if (depth > DEEPEST) throw invalidArgument(field, `the head is nested more than ${DEEPEST} deep`);
    if (++tokens > MOST_TOKENS) throw invalidArgument(field, `the head has more than ${MOST_TOKENS} parts`);
  }
}

function parsed(yaml: string, lineCounter: LineCounter, field: string) {
  try {
    return parseDocument(yaml, {
      ...{ version: '1.2', schema: 'core', strict: true, logLevel: 'error', uniqueKeys: false, lineCounter },
    });
  } catch (cause) {
    // Indentation alone can nest deep too.
    if (!(cause instanceof RangeError)) throw cause;
    throw invalidArgument(field, 'the head is nested too deep', { cause });
  }
}
