import { COMMON_SURNAMES, COMPOUND_SURNAMES, OTHER_SURNAMES } from './data/chinese-names.ts';

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

/** What a UTF-16 unit can be of; a unit may be several. */
export const DIGIT = 1 << 0;
/** Of the Latin alphabet, without accents. */
export const LATIN = 1 << 1;
/** Of any script with two cases. */
export const CAPITAL = 1 << 2;
/** Any letter, digit, or what joins them to a word or an address of a machine. */
export const IN_WORD = 1 << 3;
export const AT_SIGN = 1 << 4;
export const COLON = 1 << 5;
export const DOT = 1 << 6;
/** A blank, hyphen or dot: what parts the digits of a spelled number. */
export const PARTS_SPELLED = 1 << 7;
export const SURNAME = 1 << 8;
/** Signs of provinces and authorities on number plates. */
export const PLATE_SIGN = 1 << 9;
/** What parts of Chinese addresses end with. */
export const PLACE_END = 1 << 10;
/** Chinese digits. */
export const SPELLED = 1 << 11;
/** Letters that look like digits, and those that look like the X at a number's end. */
export const LIKE_DIGIT = 1 << 12;
export const LIKE_X = 1 << 13;
/** Dots and lines that part digits. */
export const PARTING = 1 << 14;
export const LETTER = 1 << 15;
export const SMALL = 1 << 16;
export const BORN = 1 << 17;
/** Other separators within numbers: brackets. */
export const BRACKET = 1 << 18;

export const PLATE_SIGNS = '京津沪渝冀豫云辽黑湘皖鲁新苏浙赣鄂桂甘晋蒙陕吉闽贵粤青藏川宁琼使领';
export const SPELLED_DIGITS = '〇零一二三四五六七八九壹贰叁肆伍陆柒捌玖幺';

/** What each UTF-16 unit can be of. */
export const KINDS = new Int32Array(65536);

const mark = (characters: string, kind: number) => {
  for (const character of characters) KINDS[character.charCodeAt(0)]! |= kind;
};
markLetters();
mark(DIGITS, DIGIT | IN_WORD);
mark(LETTERS, LATIN);
mark('_@', IN_WORD);
mark('@', AT_SIGN);
mark(':', COLON);
mark('.', DOT);
mark(' -.', PARTS_SPELLED);
mark('()', BRACKET);
mark(COMMON_SURNAMES + OTHER_SURNAMES, SURNAME);
for (const name of COMPOUND_SURNAMES) mark(name[0]!, SURNAME);
// A name of another people is found by its dot.
mark('·', SURNAME);
mark(PLATE_SIGNS, PLATE_SIGN);
mark('区州县旗盟省市镇乡村屯路街道巷弄里苑园庭府院城坊场庄厦楼寓同号栋幢座元室层门房组队期#', PLACE_END);
mark(SPELLED_DIGITS, SPELLED);
mark('OoОоΟοlI|іІ', LIKE_DIGIT);
mark('ХхΧ×', LIKE_X);
mark('·•・‧_', PARTING);
mark('生', BORN);

/** Letters of the first plane by their properties. */
function markLetters(): void {
  const [letter, capital, small] = [/\p{L}/u, /\p{Lu}/u, /\p{Ll}/u];
  for (let code = 0; code < 65536; code++) {
    // Ideographs and syllables of Korea: letters without case, two thirds of the plane.
    const plain = (code >= 0x3400 && code <= 0x4dbf) || (code >= 0x4e00 && code <= 0x9fff);
    if (plain || (code >= 0xac00 && code <= 0xd7a3)) {
      KINDS[code] = LETTER | IN_WORD;
      continue;
    }
    if (code >= 0xd800 && code <= 0xf8ff) continue;
    const character = String.fromCharCode(code);
    if (!letter.test(character)) continue;
    KINDS[code] = LETTER | IN_WORD;
    if (capital.test(character)) KINDS[code]! |= CAPITAL;
    else if (small.test(character)) KINDS[code]! |= SMALL;
  }
}
