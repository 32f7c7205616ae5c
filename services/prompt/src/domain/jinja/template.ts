import { parse, tokenize } from '@huggingface/jinja';
import { LandfallError } from '@landfall/common/errors/errors.ts';
import type { Template } from '../template.ts';
import type { Node } from './ast.ts';
import { Compilation, Scope } from './compiler.ts';
import { block } from './statements.ts';

/** The tokenizer's own search for a tag is quadratic in a run of white space. */
const LONGEST_SPACE = /\s{201}/;

/**
 * Reads a template in Jinja's syntax into functions over data. What it may do is what is written here: conditions, loops,
 * `set`, filters, tests, `include`; there is no object of the host to reach, and every step is charged to the run.
 * @throws LandfallError INVALID_ARGUMENT on `field`
 */
export function jinjaTemplate(text: string, field: string): Template {
  const to = new Compilation(field);
  if (LONGEST_SPACE.test(text)) to.fail('has more than 200 white space characters in a row');
  let run: ReturnType<typeof block>;
  try {
    run = block(programOf(text, to).body, to);
  } catch (cause) {
    if (cause instanceof LandfallError) throw cause;
    if (cause instanceof RangeError) return to.fail('is nested too deep');
    return to.fail(`is no Jinja template: ${reasonOf(cause)}`);
  }
  return {
    variables: [...to.variables],
    parts: [...to.parts],
    fill: (given) => {
      run({ run: given, scope: new Scope() });
    },
  };
}

type Tokens = ReturnType<typeof tokenize>;

function programOf(text: string, to: Compilation): Extract<Node, { type: 'Program' }> {
  // The tokenizer drops one line end at the end of the text, which is not its to drop.
  const tokens = tokenize(`${text}\n`);
  return parse(withIncludes(tokens, to)) as unknown as Extract<Node, { type: 'Program' }>;
}

/** `{% include "name@label" %}` as the call that the parser knows. */
function withIncludes(tokens: Tokens, to: Compilation): Tokens {
  const made: Tokens = [];
  for (let i = 0; i < tokens.length; i++) {
    const [open, word, reference, close] = tokens.slice(i, i + 4);
    if (open?.type !== 'OpenStatement' || word?.type !== 'Identifier' || word.value !== 'include') {
      made.push(tokens[i]!);
      continue;
    }
    if (reference?.type !== 'StringLiteral' || close?.type !== 'CloseStatement')
      to.fail('{% include %} takes one text: {% include "name@label" %}');
    const of = (type: typeof open.type, value: string) => ({ ...open, type, value });
    made.push(of('OpenExpression', '{{'), word, of('OpenParen', '('), reference, of('CloseParen', ')'));
    made.push(of('CloseExpression', '}}'));
    i += 3;
  }
  return made;
}

function reasonOf(cause: unknown): string {
  // The parser reads past the end where a block is open.
  if (cause instanceof TypeError) return 'it ends in the middle of a block or expression';
  return cause instanceof Error ? cause.message.replace(/^Parser Error: /, '').slice(0, 300) : 'not readable';
}
