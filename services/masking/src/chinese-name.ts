import { SURNAME as MAY_BE_NAMED } from './characters.ts';
import {
  COMMON_SURNAMES,
  COMPOUND_SURNAMES,
  GIVEN_CHARACTERS,
  LEADING_WORDS,
  NOT_NAMES,
  OTHER_SURNAMES,
} from './data/chinese-names.ts';
import type { Facts } from './facts.ts';
import type { Span } from './mask.ts';

const [NONE, RARE, COMMON, FIRST_OF_TWO] = [0, 1, 2, 4];
/** By code: whether a character is a family name, and whether given names hold it. */
const surnames = new Uint8Array(65536);
const given = new Uint8Array(65536);
for (const name of OTHER_SURNAMES) surnames[name.charCodeAt(0)] = RARE;
for (const name of COMMON_SURNAMES) surnames[name.charCodeAt(0)] = COMMON;
for (const name of COMPOUND_SURNAMES) surnames[name.charCodeAt(0)]! |= FIRST_OF_TWO;
for (const character of GIVEN_CHARACTERS) given[character.charCodeAt(0)] = 1;
const compounds = new Set(COMPOUND_SURNAMES);

/** Words by their last character: few characters are one. */
const leadingByEnd = new Map<number, string[]>();
for (const word of LEADING_WORDS) {
  const end = word.charCodeAt(word.length - 1);
  leadingByEnd.set(end, [...(leadingByEnd.get(end) ?? []), word]);
}
/** By code: what may stand between such a word and the name, last characters of such words, of soft ones, and first ones behind. */
const [BETWEEN, ENDS_LEADING, SOFT_BEFORE, SOFT_BEHIND, BEGINS_FOLLOWING] = [1, 2, 4, 8, 16];
const signs = new Uint8Array(65536);
for (const sign of '的是为叫:：,，、 \n\t(（“"「') signs[sign.charCodeAt(0)]! |= BETWEEN;
for (const code of leadingByEnd.keys()) signs[code]! |= ENDS_LEADING;
const MOST_BETWEEN = 3;

/** Whether a word that leads to a name stands before a place. */
function isLedTo(text: string, start: number): boolean {
  for (let end = start; end > 0; end--) {
    const code = text.charCodeAt(end - 1);
    const sign = signs[code]!;
    if (sign & ENDS_LEADING) {
      for (const word of leadingByEnd.get(code)!) if (text.startsWith(word, end - word.length)) return true;
    }
    if (!(sign & BETWEEN) || start - end === MOST_BETWEEN) return false;
  }
  return false;
}

/** Words and signs that may stand before a name. */
for (const sign of '和与跟给由请向对找让被把为替及是问叫约陪见催送带让听据以因经过到在从等同说当即而但你我他她了,着将使名位:的告议系报命')
  signs[sign.charCodeAt(0)]! |= SOFT_BEFORE;
/** What stands right behind a name: how a person is called, or what a person has. */
const FOLLOWING =
  /^(?:先生|女士|小姐|同志|医生|医师|大夫|护士|老师|教授|主任|院长|经理|总监|总经理|律师|法官|书记|校长|同学|师傅|阿姨|叔叔|大爷|大妈|警官|博士|局长|处长|科长|部长|董事长|总裁|总$|患者|夫妇|夫妻|一家|本人|您好|你好|的?(?:身份证|证件|护照|手机|电话|联系|邮箱|住址|地址|家庭|家住|银行|账户|账号|卡号|生日|出生|病历|车牌|户口|信用|工资|父亲|母亲|妻子|丈夫|儿子|女儿|家属|订单|保单|护照)|[(（,，、\s]{0,2}(?:男|女)(?![人子士友方生儿])|[(（,，]\d{1,3}岁|现年|今年|年龄|出生|籍贯|身份证|生于|住在|居住|家住|毕业于|就职|任职|任教|担任|来自|报名|入院|出院|就诊|住院|确诊|主诉|投诉|来电|致电|来信|反映|表示|认为|告诉|指出|介绍|签订|签署|签字|签收|签名|提交|提出|申请|购买|预订|预约|登记|注册|负责|联系|收$|收到|办理|完成|通过|参加|获得|领取|支付|转账|汇款|欠|已于|于\d)/;
/** First characters of what FOLLOWING finds. */
for (const sign of '先女小同医大护老教院主经总律法书校师阿叔警博局处科部董患夫一家本您你的身证手电联邮住地银账卡生出病车户信工父母妻丈儿订保男现今年籍居毕就任担来报入确投致反表认告指介签提申购预登注负收办完通参获领支转汇欠已于(（,，、\t\n\v\f\r \u00a0\u1680\u2028\u2029\u202f\u205f\u3000\ufeff')
  signs[sign.charCodeAt(0)]! |= BEGINS_FOLLOWING;
/** Characters that words behind a name begin with. */
for (const sign of '的在说是于因已被将向和与及或也就还会能要想住去来给把让请问回打写做有从到对先刚曾昨今明上下收寄交办拿看发买订付转借还欠提预投出入开正没不未都很太更最等吗呢吧啊,一每周尚第')
  signs[sign.charCodeAt(0)]! |= SOFT_BEHIND;
/** Score from which a candidate is taken for a name. */
const ENOUGH = 5;
/** Score from which the words around it are asked. */
const MAYBE = 3;
const segmenter = new Intl.Segmenter('zh', { granularity: 'word' });
/** How far around a candidate words are told apart. */
const WINDOW = 6;

const MIDDLE_DOT = 0xb7;
const isHan = (code: number) => code >= 0x4e00 && code <= 0x9fff;

/**
 * Names of people in Chinese characters: a family name, one or two characters of a given name, and what stands around
 * them. Also names of other peoples with their dot (`买买提·艾力`).
 *
 * @param text canonical
 */
export function findChineseNames(text: string, { from, has }: Facts): Span[] {
  const spans: Span[] = [];
  if (!(has & MAY_BE_NAMED)) return spans;
  for (let at = from; at < text.length; at++) {
    const code = text.charCodeAt(at);
    const kind = surnames[code]!;
    if (kind === NONE && code !== MIDDLE_DOT) continue;
    const found = kind === NONE ? dottedAt(text, at) : nameAt(text, at, kind);
    if (!found) continue;
    spans.push(found);
    at = found.end - 1;
  }
  return spans;
}

function nameAt(text: string, start: number, kind: number): Span | undefined {
  const two = (kind & FIRST_OF_TWO) !== 0 && compounds.has(text.slice(start, start + 2));
  const surname = two ? 2 : 1;
  if (!two && (kind & 3) === 0) return undefined;
  const first = start + surname;
  let most = 0;
  while (most < 2 && isHan(text.charCodeAt(first + most))) most++;
  if (most === 0) return undefined;
  const before = beforeScore(text, start);
  const base = before + (two ? 3 : kind & COMMON ? 1 : 0);
  let best: Candidate | undefined;
  for (let length = most; length > 0; length--) {
    const end = first + length;
    const behind = behindScore(text, end);
    const shape = givenScore(text, first, length);
    // Where both sides lead to a name and its characters are names', little else is meant.
    const agreed = shape === length && before > 0 && behind > 0 ? 2 : 0;
    const score = base + shape + behind + agreed;
    if (score < MAYBE || score <= (best?.score ?? 0) || isWord(text, start, end, before)) continue;
    best = { start, end, score, before, behind, shape };
  }
  if (!best) return undefined;
  if (before === 3 || two) return best.score >= ENOUGH ? best : undefined;
  return wordsAllow(text, best) ? best : undefined;
}

interface Candidate extends Span {
  score: number;
  before: number;
  behind: number;
  shape: number;
}

/** 3 behind what leads to a name, 2 at an edge, 1 behind a word that may lead to one. */
function beforeScore(text: string, start: number): number {
  if (isLedTo(text, start)) return 3;
  const code = text.charCodeAt(start - 1);
  if (start === 0 || !isHan(code)) return 2;
  return signs[code]! & SOFT_BEFORE ? 1 : 0;
}

function behindScore(text: string, end: number): number {
  if (end >= text.length) return 2;
  const code = text.charCodeAt(end);
  if (signs[code]! & BEGINS_FOLLOWING && FOLLOWING.test(text.slice(end, end + 8))) return 3;
  if (!isHan(code)) return code === MIDDLE_DOT ? 0 : 2;
  return signs[code]! & SOFT_BEHIND ? 1 : 0;
}

/** 2 where all of it are characters of given names, 1 where one is, less where none is. */
function givenScore(text: string, first: number, length: number): number {
  let known = 0;
  for (let i = 0; i < length; i++) known += given[text.charCodeAt(first + i)]!;
  if (known === 0) return -1;
  return known === length ? (length === 2 ? 2 : 1) : 0;
}

function isWord(text: string, start: number, end: number, before: number): boolean {
  if (before === 3) return NOT_NAMES.has(text.slice(start, end));
  for (let to = start + 2; to <= Math.min(end + 2, start + 4); to++) {
    if (NOT_NAMES.has(text.slice(start, to))) return true;
  }
  return false;
}

/**
 * What a family name that stands alone among the words tells for a name, and what a word across its end against it. A
 * word across its beginning, or that is all of it, takes away what is enough.
 */
const [ALONE, ACROSS] = [2, 2];

/**
 * Whether a candidate is enough of a name once the words of its surroundings are known: little is where a word runs
 * across its beginning or is all of it; a family name that stands alone tells for it, as no dictionary has names. Words are
 * asked for one by one, and only as long as they may decide: telling them apart takes longer than all the rest.
 */
function wordsAllow(text: string, { start, end, score, before, behind, shape }: Candidate): boolean {
  const most = score + (shape > 0 ? ALONE : 0);
  if (most < ENOUGH || score >= 2 * ENOUGH) return score >= ENOUGH;
  const from = Math.max(0, start - WINDOW);
  const words = segmenter.segment(text.slice(from, end + WINDOW));
  const first = words.containing(start - from);
  if (!first?.isWordLike) return wordsBehind(words, start - from + 1, end - from, score, before, behind);
  if (first.segment.length > 1) return false;
  if (most - ACROSS >= ENOUGH) return true;
  return wordsBehind(words, start - from + 1, end - from, most, before, behind);
}

/** The same for the words that begin in the given name. Where what stands behind was looked at, none counts. */
function wordsBehind(
  words: Intl.Segments,
  from: number,
  end: number,
  score: number,
  before: number,
  behind: number,
): boolean {
  let left = score;
  for (let at = from; at < end; ) {
    const word = words.containing(at);
    if (!word) break;
    const high = word.index + word.segment.length;
    if (word.isWordLike && word.segment.length > 1) {
      if (high > end && behind === 0) left -= ACROSS;
      if (high === end && before < 2) left -= ACROSS;
    }
    at = high;
  }
  return left >= ENOUGH;
}

const DOTTED_PART = /^[\u4e00-\u9fff]{1,8}/;
const BEFORE_DOT = /(?:[\u4e00-\u9fff]{1,6})$/;

/** `阿卜杜拉·买买提`: the parts on both sides of the dot, up to what leads to them. */
function dottedAt(text: string, dot: number): Span | undefined {
  const before = BEFORE_DOT.exec(text.slice(Math.max(0, dot - 6), dot))?.[0] ?? '';
  const behind = DOTTED_PART.exec(text.slice(dot + 1, dot + 9))?.[0] ?? '';
  if (before.length < 2 || behind.length < 2) return undefined;
  let start = dot - before.length;
  for (let at = start; at < dot - 1; at++) {
    if (isLedTo(text, at) || signs[text.charCodeAt(at - 1)]! & SOFT_BEFORE) start = at;
  }
  let end = dot + 1 + behind.length;
  for (let at = dot + 3; at < end; at++) if (signs[text.charCodeAt(at)]! & SOFT_BEHIND) end = at;
  return { start, end };
}

/** Characters that may still decide on a name: its own, and what stands behind it. */
const LONGEST_NAME = 4;
const LOOKED_AT_BEHIND = 8;

/** From where a name may be under way at a text's end, or be decided by what follows. */
export function openChineseName(text: string): number {
  const from = Math.max(0, text.length - LONGEST_NAME - LOOKED_AT_BEHIND);
  let open = text.length;
  for (let at = text.length - 1; at >= from; at--) {
    if (surnames[text.charCodeAt(at)] !== NONE && surnames[text.charCodeAt(at)] !== undefined) open = at;
  }
  // A name with a dot begins with any character.
  const dot = text.lastIndexOf('·');
  if (dot >= text.length - 1 - LOOKED_AT_BEHIND - 1) open = Math.min(open, Math.max(0, dot - 6));
  let han = text.length;
  while (han > 0 && text.length - han < 6 && isHan(text.charCodeAt(han - 1))) han--;
  return Math.min(open, han);
}
