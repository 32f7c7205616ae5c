/** A piece of a template: text as it is, or a variable's place. */
export type Piece = { text: string } | { variable: string };

/**
 * Splits a template. `{name}` is a variable's place, `{{name}}` the text `{name}`; every other brace is text, so that
 * JSON examples need no care. One pass, linear in the template's length.
 */
export function parseTemplate(template: string): Piece[] {
  const pieces: Piece[] = [];
  let text = '';
  const name = '[A-Za-z_][A-Za-z0-9_]{0,63}';
  const place = new RegExp(`\\{(\\{${name}\\})\\}|\\{(${name})\\}`, 'g');
  let at = 0;
  for (const match of template.matchAll(place)) {
    const [whole, literal, variable] = match;
    text += template.slice(at, match.index) + (literal ?? '');
    at = match.index + whole.length;
    if (variable === undefined) continue;
    if (text) pieces.push({ text });
    text = '';
    pieces.push({ variable });
  }
  text += template.slice(at);
  if (text) pieces.push({ text });
  return pieces;
}

/** Names of the variables in a template, each once, in order. */
export function templateVariables(template: string): string[] {
  return [
    ...new Set(parseTemplate(template).flatMap((piece) => ('variable' in piece ? [piece.variable] : []))),
  ];
}

/** Puts values in their places as they are: a value is never read as a template. */
export function fillTemplate(template: string, values: ReadonlyMap<string, string>): string {
  return parseTemplate(template)
    .map((piece) => ('text' in piece ? piece.text : values.get(piece.variable)!))
    .join('');
}
