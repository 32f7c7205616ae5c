/** A set of narrow characters, asked by code: texts are walked character by character. */
export function characterSet(characters: string): (code: number) => boolean {
  const known = new Uint8Array(128);
  for (const character of characters) known[character.charCodeAt(0)] = 1;
  return (code) => known[code] === 1;
}

export const DIGITS = '0123456789';
export const LETTERS = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz';

const inWord = characterSet(`${DIGITS}${LETTERS}_`);

/** True where a character of a word or number stands; outside the text it does not. */
export function isWordAt(text: string, at: number): boolean {
  return at >= 0 && at < text.length && inWord(text.charCodeAt(at));
}

/**
 * Full-width letters, digits and signs as narrow ones, one for one, so that a place in the result is the same place in
 * the text.
 */
export function narrowed(text: string): string {
  return text.replace(/[\uff01-\uff5e\u3000\u2010-\u2015\u2212]/g, (character) => {
    const code = character.charCodeAt(0);
    if (code === 0x3000) return ' ';
    return code >= 0xff01 ? String.fromCharCode(code - 0xfee0) : '-';
  });
}
