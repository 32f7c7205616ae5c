import { PLACE_END } from './characters.ts';
import { CITIES, PROVINCES } from './data/chinese-places.ts';
import type { Facts } from './facts.ts';
import type { Span } from './mask.ts';

type Kind = 'admin' | 'town' | 'road' | 'place' | 'number' | 'word';

interface Part extends Span {
  kind: Kind;
}

/** Longest name of one part, before what it is. */
const NAME = '[\\u4e00-\\u9fa5]{1,8}?';
const SUFFIX =
  '自治[区州县旗]|特别行政区|(?:高新|开发|新)区|街道|社区|大道|大街|胡同|小区|花园|公寓|大厦|大楼|广场|山庄|新村|家园|[省市区县旗盟州镇乡村屯路街道巷弄里苑园庭府院城坊]';
const NUMBER =
  '[A-Za-z0-9一二三四五六七八九十百零〇甲乙丙丁]{1,6}(?:[-#－][A-Za-z0-9]{1,5}){0,3} ?(?:号楼|号院|号|栋|幢|座|单元|室|楼|层|弄|巷|门|房|组|队|期|#)';
const FIRST = new RegExp(`(${NUMBER})|${NAME}(?:${SUFFIX})`, 'g');
const NEXT = new RegExp(`(?:[ ,，]?(${NUMBER})| ?${NAME}(?:${SUFFIX}))`, 'y');
/** What has a number and no word for what it is, within a place: `科技园12号`. */
const UNNAMED = /[\u4e00-\u9fa5]{1,6}?(?=\d{1,6}(?:号|弄|栋|幢|座))/y;
/** A room and a postal code without their names. */
const TAIL =
  /(?: ?(?:套房|公寓|房间|室|房) ?[A-Za-z0-9]{1,6}|[ -]?\d{1,4}(?:-\d{1,5}){1,2}|(?<=[座栋幢楼]) ?\d{2,4}(?!\d))?(?:[ ,，]{0,2}(?:邮编[::]?)? ?\d{6}(?!\d))?/y;
const MOST_PARTS = 12;
const ADMIN = /(?:省|市|区|县|旗|盟|州)$/;
const TOWN = /(?:镇|乡|村|屯|街道|社区)$/;
const ROAD = /(?:路|街|道|巷|弄|胡同)$/;
/** What ends like a part of an address and is none. */
const WORDS =
  /(?:知道|味道|频道|渠道|报道|管道|通道|轨道|隧道|跑道|车道|赛道|人道|肠道|尿道|呼吸道|气道|食道|消化道|道道|铁路|道路|马路|公路|思路|出路|一路|线路|走路|电路|套路|门路|后路|网路|逛街|农村|超市|股市|上市|医院|学院|法院|住院|出院|入院|家庭|政府|公里|这里|那里|哪里|家里|心里|夜里)$|^[在是有的]?(?:上街|乡村|城市|都市|市区|地区|病区|辖区|园区|景区|灾区|山区|城区|校区|片区|牧区|病院|剧院|影院|寺院|检察院|研究院|开庭|法庭|公园|校园|乐园|店里|手里|嘴里|年里|月里|里里|全省|全市|全县|全区|本市|本省|我省|我市|外省|节省|反省|多弄|下乡|家乡|老乡|故乡|同乡|进城|商城|长城|全城|书院)$/;
const CUE =
  /(?:地址|住址|住所|居住地|户籍地?|籍贯|住在|家住|现住|居住|寄到|寄往|寄至|送到|送至|发到|位于|坐落|搬到|收货|邮寄)[^\d\n。]{0,6}$/;
/** What may stand before the first part within its reach and is none of it. */
const BEFORE =
  /^.*(?:地址|住址|住所|居住|住在|家住|现住|位于|坐落|寄到|寄往|寄至|送到|送至|发到|发往|搬到|来自|户籍|籍贯|邮寄|[在是为住址到至了的去往自与及请从于](?!都|洪|江县|化区))/;

const FIRST_OF_PLACES = new Map<string, string[]>();
for (const place of [...PROVINCES, ...CITIES]) {
  const first = place[0]!;
  FIRST_OF_PLACES.set(first, [...(FIRST_OF_PLACES.get(first) ?? []), place]);
}
const HAN = /[\u4e00-\u9fa5]/;

/**
 * Addresses of China: a road or estate with its number, or a place that is known or named as an address with what
 * stands within it.
 *
 * @param text canonical
 */
export function findChineseAddresses(text: string, { has }: Facts): Span[] {
  const spans: Span[] = [];
  if (!(has & PLACE_END)) return spans;
  FIRST.lastIndex = 0;
  for (let match = FIRST.exec(text); match; match = FIRST.exec(text)) {
    const parts = chain(text, match);
    const found = accepted(text, parts);
    if (found) {
      spans.push(found);
      FIRST.lastIndex = Math.max(found.end, match.index + 1);
    } else {
      FIRST.lastIndex = parts.length > 1 ? parts[1]!.start : parts[0]!.end;
    }
  }
  return spans;
}

function chain(text: string, first: RegExpExecArray): Part[] {
  const start = first[1] ? first.index : startOfFirst(text, first.index, first.index + first[0].length);
  const parts = [part(text, start, first.index + first[0].length, first[1] !== undefined)];
  while (parts.length < MOST_PARTS) {
    NEXT.lastIndex = parts.at(-1)!.end;
    const match = NEXT.exec(text);
    const next = match && part(text, match.index, match.index + match[0].length, match[1] !== undefined);
    const unnamed = unnamedAt(text, parts.at(-1)!);
    // What comes first to its number is meant.
    if (unnamed && !(next && next.end <= unnamed.end)) parts.push(unnamed);
    else if (!next || next.kind === 'word') break;
    else parts.push(next);
  }
  return parts;
}

function unnamedAt(text: string, { kind, end: start }: Part): Part | undefined {
  if (kind !== 'admin' && kind !== 'town' && kind !== 'number') return undefined;
  UNNAMED.lastIndex = start;
  const match = UNNAMED.exec(text);
  return match ? { start, end: start + match[0].length, kind: 'road' } : undefined;
}

function part(text: string, start: number, to: number, isNumber: boolean): Part {
  // `花园街` is a street, not a garden.
  const more = isNumber ? undefined : /^(?:[路街巷]|胡同|大道|大街)/.exec(text.slice(to, to + 2));
  const end = to + (more?.[0].length ?? 0);
  const written = text.slice(start, end);
  if (isNumber) return { start, end, kind: 'number' };
  if (WORDS.test(written)) return { start, end, kind: 'word' };
  if (TOWN.test(written)) return { start, end, kind: 'town' };
  if (ADMIN.test(written)) return { start, end, kind: 'admin' };
  return { start, end, kind: ROAD.test(written) ? 'road' : 'place' };
}

/** Where the first part begins: at a known place, behind the words that lead to it, or a usual name's length before its end. */
function startOfFirst(text: string, from: number, end: number): number {
  for (let at = from; at < end - 1; at++) if (placeAt(text, at)) return at;
  const led = BEFORE.exec(text.slice(from, end - 1));
  if (led) return from + led[0].length;
  return from > 0 && HAN.test(text[from - 1]!) ? Math.max(from, end - 4) : from;
}

function placeAt(text: string, at: number): string | undefined {
  return FIRST_OF_PLACES.get(text[at]!)?.find((place) => text.startsWith(place, at));
}

function accepted(text: string, parts: readonly Part[]): Span | undefined {
  const first = parts.findIndex(({ kind }) => kind !== 'word');
  if (first < 0) return undefined;
  const own = parts.slice(first);
  const { start } = own[0]!;
  if (own[0]!.end - start < 2) return undefined;
  const numbered = own.some(
    (one, i) =>
      one.kind === 'number' &&
      i > 0 &&
      (own[i - 1]!.kind === 'road' || own[i - 1]!.kind === 'place' || own[i - 1]!.kind === 'town') &&
      /[0-9A-Za-z一二三四五六七八九十]/.test(text[one.start]!),
  );
  const known = own.length > 1 && placeAt(text, start) !== undefined;
  const named = own.length > 1 && CUE.test(text.slice(Math.max(0, start - 14), start));
  if (!numbered && !known && !named) return undefined;
  TAIL.lastIndex = own.at(-1)!.end;
  return { start, end: own.at(-1)!.end + (TAIL.exec(text)?.[0].length ?? 0) };
}

/** A part that is not told apart yet: a name up to its word, or a number up to its. */
const OPEN_PART =
  /^[ ,，]?(?:[\u4e00-\u9fa5]{0,10}|[\u4e00-\u9fa5]{0,8}[A-Za-z0-9一二三四五六七八九十百零〇#－ -]{0,28}[\u4e00-\u9fa5]{0,2})$/;
/** Longest first part before the word for what it is. */
const FIRST_REACH = 14;
const ADDRESS_REACH = 200;

/** From where an address may be under way at a text's end. */
export function openChineseAddress(text: string, { has }: Facts): number {
  let open = text.length;
  const least = Math.max(0, text.length - FIRST_REACH);
  while (open > least && /[\u4e00-\u9fa5A-Za-z0-9#-]/.test(text[open - 1]!)) open--;
  if (!(has & PLACE_END)) return open;
  const from = Math.max(0, text.length - ADDRESS_REACH);
  FIRST.lastIndex = from;
  for (let match = FIRST.exec(text); match; match = FIRST.exec(text)) {
    const parts = chain(text, match);
    const { end } = parts.at(-1)!;
    if (OPEN_PART.test(text.slice(end))) {
      const own = parts.find(({ kind }) => kind !== 'word');
      if (own) return Math.min(open, own.start);
    }
    FIRST.lastIndex = parts.length > 1 ? parts[1]!.start : parts[0]!.end;
  }
  return open;
}
