/** A piece of a template: text as it is, or a variable's place. */
export type Piece = { text: string } | { variable: string };

/**
 * Splits a template. `{name}` is a variable's place; `{{` and `}}` are one brace each; every other brace is text, so
 * that JSON examples need no care. One pass, linear in the template's length.
 */
export function parseTemplate(template: string): Piece[] {
  const pieces: Piece[] = [];
  let text = '';
  const place = /\{\{|\}\}|\{([A-Za-z_][A-Za-z0-9_]{0,63})\}/g;
  let at = 0;
  for (const match of template.matchAll(place)) {
    text += template.slice(at, match.index);
    at = match.index + match[0].length;
    if (match[1] === undefined) {
      text += match[0][0];
      continue;
    }
    if (text) pieces.push({ text });
    text = '';
    pieces.push({ variable: match[1] });
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
