import { invalidArgument } from '@landfall/common/errors/errors.ts';
import { EXAMPLES, type Filling, Picture, REFERENCE, type Run, type Template } from './template.ts';
import { textOf, type Value } from './variables.ts';

/** A piece of a template: text as it is, a variable's place, or another prompt's. */
type Piece = { text: string } | { variable: string } | { part: string };

const NAME = '[A-Za-z_][A-Za-z0-9_]{0,63}';
const PART = '> ?[a-z0-9._-]{1,64}[@/][0-9A-Za-z_.+-]{1,64}';
const PLACE = new RegExp(`\\{(\\{(?:${NAME}|${PART})\\})\\}|\\{(${NAME})\\}|\\{(${PART})\\}`, 'g');

/**
 * Reads a template of the simple form. `{name}` is a variable's place, `{> name@label}` another prompt's; both in double
 * braces are text in single ones; every other brace is text, so that JSON examples need no care. One pass, linear in the
 * template's length.
 */
export function simpleTemplate(template: string, field: string): Template {
  const pieces: Piece[] = [];
  let [text, at] = ['', 0];
  const settle = () => {
    if (text) pieces.push({ text });
    text = '';
  };
  for (const match of template.matchAll(PLACE)) {
    const [whole, literal, variable, part] = match;
    text += template.slice(at, match.index) + (literal ?? '');
    at = match.index + whole.length;
    if (variable !== undefined) {
      settle();
      pieces.push({ variable });
    } else if (part !== undefined) {
      settle();
      const reference = part.slice(1).trim();
      if (!REFERENCE.test(reference))
        throw invalidArgument(field, `{${part}} names no prompt as name@label or name/1.2.0`);
      pieces.push({ part: reference });
    }
  }
  text += template.slice(at);
  settle();
  const unique = (pick: (piece: Piece) => string | undefined) => [
    ...new Set(pieces.map(pick).filter((name) => name !== undefined)),
  ];
  return {
    variables: unique((piece) => ('variable' in piece ? piece.variable : undefined)),
    parts: unique((piece) => ('part' in piece ? piece.part : undefined)),
    fill: (run) => {
      for (const piece of pieces) {
        if ('text' in piece) run.budget.emit(piece.text);
        else if ('part' in piece) run.include(piece.part);
        else if (piece.variable === EXAMPLES && run.emitExamples) run.emitExamples();
        else emitFilling(run, run.values.get(piece.variable) ?? null);
      }
    },
  };
}

/** Puts a value in as it is: it is never read as a template. */
export function emitFilling({ budget }: Run, value: Filling): void {
  if (value instanceof Picture) budget.emitImage(value.variable, value.reference);
  else budget.emit(textOf(value as Value));
}
