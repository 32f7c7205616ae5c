import { pinyin } from 'pinyin-pro';

/** A text as words are looked for: letters, digits and Chinese characters alone, each as the plainest that looks like it. */
export interface Symbols {
  /** Code of each. */
  codes: number[];
  /** Place of each in the text, and behind it, in UTF-16 units. */
  starts: number[];
  ends: number[];
}

/** Letters of other alphabets by the Latin ones that they look like. */
const ALIKE = new Map<string, string>();
for (const [letter, others] of Object.entries({
  a: 'аαɑ@4',
  b: 'ьв8',
  c: 'сϲ',
  e: 'еєε3',
  h: 'нһ',
  i: 'іιıl1!|',
  k: 'кκ',
  m: 'м',
  n: 'пηո',
  o: 'оοօ0',
  p: 'рρ',
  s: 'ѕ$5',
  t: 'тτ7+',
  u: 'υц',
  v: 'ν',
  x: 'хχ×',
  y: 'уү',
  z: '2',
})) {
  for (const other of others) ALIKE.set(other, letter);
}
/** Chinese characters that pass for one another at a glance; the first of each group stands for all. */
for (const group of '未末 己已巳 日曰 土士 人入 千干于 大太犬 天夭 王玉 白自 目且 贝见 没设 免兔 侯候 徒徙 券卷 拔拨 治冶 析折 晴睛 崇祟 戌戍戊 刀力 儿几 木术 毒每 杀剎刹 徽微 赌睹堵'.split(
  ' ',
)) {
  const [first, ...others] = group;
  for (const other of others) ALIKE.set(other, first!);
}
const HAN = /\p{Script=Han}/u;
const LETTER = /\p{L}/u;
const LETTER_OR_NUMBER = /[\p{L}\p{N}]/u;
const OF_A_FORM = /[\p{L}\p{N}@$!|+]/u;
/** Digits pass for letters only within a word that has some. */
const AMONG_LETTERS = /[a-zа-яα-ω]/i;
/** Signs that pass for letters before one; a plus between two. */
const SIGNS = '@$!|+';

/**
 * What becomes of a UTF-16 unit, filled in as units are met: its one symbol, or one of these. The rules are slow to ask,
 * and a text of a thousand characters has few different ones.
 */
const plainest = new Int32Array(65536);
const [UNKNOWN, NONE, BY_PLACE] = [0, -1, -2];

function meet(code: number): number {
  const written = String.fromCharCode(code);
  let met = NONE;
  if (SIGNS.includes(written) || (code >= 0xd800 && code <= 0xdfff)) met = BY_PLACE;
  else if (LETTER_OR_NUMBER.test(written)) {
    const form = formOf(written);
    const alone = form.length === 1 && OF_A_FORM.test(form) && !/\d/.test(form);
    met = alone ? fold(form).codePointAt(0)! : BY_PLACE;
  }
  plainest[code] = met;
  return met;
}

/** @param from where to begin; what stands before is looked at, but is no symbol */
export function symbolsOf(text: string, from = 0): Symbols {
  const symbols: Symbols = { codes: [], starts: [], ends: [] };
  const { codes, starts, ends } = symbols;
  for (let at = from; at < text.length; at++) {
    const unit = text.charCodeAt(at);
    let plain = plainest[unit]!;
    if (plain === UNKNOWN) plain = meet(unit);
    if (plain === NONE) continue;
    if (plain === BY_PLACE) {
      at += addByPlace(symbols, text, at) - 1;
      continue;
    }
    codes.push(plain);
    starts.push(at);
    ends.push(at + 1);
  }
  return symbols;
}

/** Adds what depends on what stands beside it, is several symbols, or takes two units. Returns its units. */
function addByPlace({ codes, starts, ends }: Symbols, text: string, at: number): number {
  const written = String.fromCodePoint(text.codePointAt(at)!);
  const units = written.length;
  const counts = SIGNS.includes(written) ? isLetterSign(text, at, written) : LETTER_OR_NUMBER.test(written);
  if (!counts) return units;
  for (const character of formOf(written)) {
    if (!OF_A_FORM.test(character)) continue;
    const digit = /\d/.test(character);
    const plain = digit && !besideLetter(text, at, units) ? character : fold(character);
    codes.push(plain.codePointAt(0)!);
    starts.push(at);
    ends.push(at + units);
  }
  return units;
}

const formOf = (written: string) => written.normalize('NFKC').toLowerCase();
const fold = (character: string) =>
  ALIKE.get(character) ?? (character.normalize('NFD').replace(/\p{M}/gu, '') || character);

function isLetterSign(text: string, at: number, sign: string): boolean {
  const behind = text.codePointAt(at + 1);
  if (behind === undefined || !LETTER.test(String.fromCodePoint(behind))) return false;
  return sign !== '+' || /\p{L}$/u.test(text.slice(Math.max(0, at - 2), at));
}

function besideLetter(text: string, start: number, length: number): boolean {
  return AMONG_LETTERS.test(text[start - 1] ?? '') || AMONG_LETTERS.test(text[start + length] ?? '');
}

const ids = new Map<string, number>();
/** By code, one more than what `syllableOf` says; 0 where it has not been asked. Characters beyond the first plane apart. */
const syllables = new Uint16Array(65536);
const rareSyllables = new Map<number, number>();

/** A number for how a Chinese character sounds, without its tone; 0 for what is none. */
export function syllableOf(code: number): number {
  const known = code < 65536 ? syllables[code]! : (rareSyllables.get(code) ?? 0);
  if (known > 0) return known - 1;
  const character = String.fromCodePoint(code);
  let id = 0;
  if (HAN.test(character)) {
    const sound = pinyin(character, { toneType: 'none', v: true });
    id = ids.get(sound) ?? ids.size + 1;
    ids.set(sound, id);
  }
  if (code < 65536) syllables[code] = id + 1;
  else rareSyllables.set(code, id + 1);
  return id;
}

/** By code: 1 for a Chinese character, 2 for another; 0 where it has not been asked. */
const han = new Uint8Array(65536);

export function isHan(code: number): boolean {
  if (code < 0x3400) return false;
  if (code >= 65536) return HAN.test(String.fromCodePoint(code));
  if (han[code] === 0) han[code] = HAN.test(String.fromCharCode(code)) ? 1 : 2;
  return han[code] === 1;
}
