import { CAPITAL, KINDS, LATIN, LETTER } from './characters.ts';
import { BEHIND_BLANK, type Facts } from './facts.ts';
import type { Span } from './mask.ts';

function alternatives(words: string): string {
  const all = words
    .split('|')
    .flatMap((word) => (word.endsWith('s?') ? [word.slice(0, -2), word.slice(0, -1)] : [word]));
  return all.sort().reverse().join('|');
}

/** Words alone, with and without their s, sorted: the engine makes a tree of them. */
const TYPES = alternatives(
  'Alley|Aly|Annex|Arcade|Avenue|Ave|Bayou|Beach|Bend|Bluffs?|Bottom|Boulevard|Blvd|Branch|Bridge|Brooks?|Burgs?|Bypass|Camp|Canyon|Cape|Causeway|Centers?|Ctr|Circles?|Cir|Cliffs?|Club|Common|Corners?|Course|Courts?|Ct|Coves?|Creek|Crescent|Cres|Crest|Crossing|Crossroad|Curve|Dale|Dam|Divide|Drives?|Dr|Estates?|Expressway|Extensions?|Falls?|Ferry|Fields?|Flats?|Fords?|Forest|Forges?|Forks?|Fort|Freeway|Gardens?|Gateway|Glens?|Greens?|Groves?|Harbors?|Haven|Heights|Highway|Hwy|Hills?|Hollow|Inlet|Islands?|Isle|Junctions?|Keys?|Knolls?|Lakes?|Land|Landing|Lane|Ln|Lights?|Loaf|Locks?|Lodge|Loop|Mall|Manors?|Meadows?|Mews|Mills?|Mission|Motorway|Mount|Mountains?|Neck|Orchard|Oval|Overpass|Parks?|Parkways?|Pkwy|Pass|Passage|Path|Pike|Pines?|Place|Pl|Plains?|Plaza|Points?|Ports?|Prairie|Radial|Ramp|Ranch|Rapids?|Rest|Ridges?|River|Roads?|Rd|Route|Row|Rue|Run|Shoals?|Shores?|Skyway|Springs?|Spurs?|Squares?|Sq|Station|Stravenue|Stream|Streets?|St|Summit|Terrace|Ter|Throughway|Trace|Track|Trafficway|Trail|Trl|Tunnel|Turnpike|Underpass|Unions?|Valleys?|Via|Viaduct|Views?|Villages?|Ville|Vista|Walks?|Wall|Ways?|Wells?|Close|Gate|Hill|Quay|Wharf',
);
const WORD = "(?:[A-Z][\\p{L}'’.-]{0,24}|\\d{1,3}(?:st|nd|rd|th))";
const UNIT =
  '(?:[ ,\\n]{1,2}(?:Apt|Apartment|Suite|Ste|Unit|Flat|Floor|Fl|Room|Rm|#)\\.?[ #]{0,2}[A-Za-z0-9-]{1,6}|[ ,]{1,2}\\d{1,3}(?:st|nd|rd|th) [Ff]loor)';
const STATE =
  '(?:A[KLRZPE]|C[AOT]|D[CE]|F[LM]|G[AU]|HI|I[ADLN]|K[SY]|LA|M[ADEHINOPST]|N[CDEHJMVY]|O[HKR]|P[ARW]|RI|S[CD]|T[NX]|UT|V[AIT]|W[AIVY])';
const ZIP = '\\d{5}(?:-\\d{4})?';
const UK_CODE = '[A-Z]{1,2}\\d[A-Z\\d]? ?\\d[A-Z]{2}';
/** City, state or country, postal code, on the same line or the next ones. */
const TOWN = `(?:[ ,\\n]{1,3}(?:${WORD}(?: ${WORD}){0,2}(?:, ?|\\n| ))?(?:(?:${STATE}|[A-Z][a-z]{2,13}(?: [A-Z][a-z]{2,9})?),? ?(?:${ZIP}|${UK_CODE}|[A-Z]\\d[A-Z] ?\\d[A-Z]\\d)|${UK_CODE}|${ZIP}(?: [A-Z][\\p{L}]{2,20})?|${STATE}(?![A-Za-z]))|, ?${WORD}(?: ${WORD}){0,2}(?=[.,;)?!\\n]|$))`;
const NUMBERED = new RegExp(
  `(?<![\\p{L}\\d.,$€£#/-])\\d{1,6}[A-Za-z]?(?:[-/]\\d{1,4})?,? (?:(?:${WORD} ){1,4}?(?:${TYPES})(?: (?:${TYPES}))?(?![\\p{L}])\\.?|(?:[NSEW]\\.? )?(?:The [A-Z]\\p{L}{2,14}|Broadway|[A-Z]\\p{L}{2,10}way|[A-Z]\\p{L}{2,10}gate)(?![\\p{L}])|(?:${WORD} ){1,4}?(?=(?:Apt|Suite)\\.? \\d))(?: (?:[NSEW]|North|South|East|West|NE|NW|SE|SW)(?![\\p{L}])\\.?)?(?:${UNIT}|(?<= )(?:Apt|Suite)\\.? \\d{1,5})?${TOWN}?`,
  'uy',
);
/** `Rue de Rivoli 12`, `Via Roma, 5`, `Hauptstraße 7`, `Kerkstraat 12b, 1017 GA Amsterdam` */
const EUROPEAN = new RegExp(
  `(?<![\\p{L}\\d])(?:(?:Rua|Rue|Via|Viale|Calle|Avenida|Av\\.|Strada|Ulica|ul\\.|Rruga|Carrer|Corso|Piazza|Plaza|Paseo|Travessa|Boulevard) (?:[\\p{L}'’.]{1,20} ){0,4}?[\\p{L}'’.]{2,24},? |[A-ZÄÖÜ][\\p{L}-]{2,24}(?:straße|strasse|str\\.|weg|platz|gasse|allee|damm|ufer|straat|laan|plein|gracht|kade|dijk|vej|gade|vägen|gatan|veien|gata|katu|tie|utca|út)\\.? )\\d{1,4} ?[A-Za-z]?(?![\\p{L}\\d])(?:[ ,\\n]{1,2}\\d{4,5}(?: [A-Z]{2})?(?: ${WORD}){0,2})?`,
  'gu',
);
const FRENCH = new RegExp(
  `(?<![\\p{L}\\d.,-])\\d{1,4}(?: ?(?:bis|ter))?,? (?:rue|avenue|boulevard|chemin|place|impasse|allée|quai|cours) (?:[\\p{L}'’]{1,20}[ -]){0,4}?[A-Z][\\p{L}'’-]{1,24}(?:,? \\d{5}(?: ${WORD}){0,2})?`,
  'gu',
);
const BOXES = new RegExp(
  `(?<![\\p{L}])(?:(?:P\\.? ?O\\.? ?|Post Office )Box|PSC \\d{1,5},? Box|Unit \\d{1,5} Box|USNS|USS|USNV) ?[A-Z]?[\\p{L}\\d]{1,12}(?:${TOWN}|[ ,\\n]{1,2}(?:APO|FPO|DPO),? (?:AA|AE|AP),? ${ZIP})?`,
  'gu',
);
/** `Kevin Station 27, 1234 Town`: the number behind. */
const BEHIND = new RegExp(
  `(?<![\\p{L}\\d])(?:${WORD} ){1,3}(?:Street|Road|Avenue|Lane|Drive|Boulevard|St\\.|Rd\\.|Ave\\.) \\d{1,4}[A-Za-z]?(?![\\p{L}\\d])(?:[ ,\\n]{1,2}\\d{4,5}(?: ${WORD}){0,2})?`,
  'gu',
);
const EUROPEAN_WORDS =
  /(?:Rua|Rue|Via|Viale|Calle|Avenida|Av\.|Strada|Ulica|ul\.|Rruga|Carrer|Corso|Piazza|Plaza|Paseo|Travessa|Boulevard) /;
const EUROPEAN_ENDS =
  /(?:straße|strasse|str\.|weg|platz|gasse|allee|damm|ufer|straat|laan|plein|gracht|kade|dijk|vej|gade|vägen|gatan|veien|gata|katu|tie|utca|út)\.? $/;
const ENGLISH_ENDS = /(?:Street|Road|Avenue|Lane|Drive|Boulevard|St\.|Rd\.|Ave\.) $/;
const FRENCH_WORDS = / (?:rue|avenue|boulevard|chemin|place|impasse|allée|quai|cours) /;
const BOX_WORDS = /Box|USN|USS/;
const LONGEST_END = 10;
/** A number with what leads to a capitalised word or another number. */
const BEFORE_WORD = /\d{1,6}[A-Za-z]?(?:[-/]\d{1,4})?,? [A-Z\d]/y;
/** Digits of the longest house number. */
const MOST_HOUSE_DIGITS = 6;

/**
 * Addresses as they are written in English and, by road and number, in other languages of Europe.
 *
 * @param text canonical
 */
export function findWesternAddresses(text: string, { from, has, hints, runs }: Facts): Span[] {
  const found: Span[] = [];
  if (from === 0 && !(has & LATIN)) return found;
  addNumbered(found, text, runs);
  const add = (pattern: RegExp) => {
    for (const { 0: all, index: start } of text.matchAll(pattern))
      found.push({ start, end: start + all.length });
  };
  if (hints & BEHIND_BLANK) {
    const ends = numberedWords(text, runs);
    if (ends.some((end) => EUROPEAN_ENDS.test(end)) || EUROPEAN_WORDS.test(text)) add(EUROPEAN);
    if (ends.some((end) => ENGLISH_ENDS.test(end))) add(BEHIND);
  }
  if (runs.length > 0 && FRENCH_WORDS.test(text)) add(FRENCH);
  if (BOX_WORDS.test(text)) add(BOXES);
  if (found.length < 2) return found;
  let end = 0;
  return found
    .sort((a, b) => a.start - b.start || b.end - a.end)
    .filter((span) => {
      if (span.start < end) return false;
      end = span.end;
      return true;
    });
}

/** Number first: where a number stands before a capitalised word. */
function addNumbered(found: Span[], text: string, runs: readonly number[]): void {
  let last = 0;
  for (let i = 0; i < runs.length; i += 2) {
    const start = runs[i]!;
    if (start < last || runs[i + 1]! - start > MOST_HOUSE_DIGITS) continue;
    BEFORE_WORD.lastIndex = start;
    if (!BEFORE_WORD.test(text)) continue;
    NUMBERED.lastIndex = start;
    const match = NUMBERED.exec(text);
    if (!match) continue;
    last = start + match[0].length;
    found.push({ start, end: last });
  }
}

/** Ends of words that a blank and a number follow. */
function numberedWords(text: string, runs: readonly number[]): string[] {
  const ends: string[] = [];
  for (let i = 0; i < runs.length; i += 2) {
    const start = runs[i]!;
    if (text[start - 1] === ' ' && isWordEnd(text, start - 2))
      ends.push(text.slice(Math.max(0, start - LONGEST_END), start));
  }
  return ends;
}

const isWordEnd = (text: string, at: number) =>
  at >= 0 && (text[at] === '.' || (KINDS[text.charCodeAt(at)]! & LETTER) !== 0);

const FRENCH_TYPES = 'rue avenue boulevard chemin place impasse allée quai cours'.split(' ');
const beginnings = (word: string) => Array.from(word, (_, i) => word.slice(0, i + 1));
/** A number with capitalised words, up to the text's end. */
const OPEN_NUMBERED = new RegExp(
  `(?<![\\p{L}\\d])\\d{1,6}[A-Za-z]?(?:[-/]\\d{0,4})?,?(?: ${WORD},?){0,6}(?: [\\p{Lu}\\d][\\p{L}\\d'’.-]{0,24})?[ ,]?$`,
  'u',
);
const OPEN_FRENCH = new RegExp(
  `(?<![\\p{L}\\d])\\d{1,4}(?: ?(?:b|bi|bis|t|te|ter))?,?(?: (?:${FRENCH_TYPES.flatMap(beginnings).join('|')}))?(?:(?<=(?:${FRENCH_TYPES.join('|')})) (?:[\\p{L}'’]{1,20}[ -]){0,4}[\\p{L}'’-]{0,24},? ?\\d{0,5})?$`,
  'u',
);
const OPEN_EUROPEAN =
  /(?<![\p{L}\d])(?:Rua|Rue|Via|Viale|Calle|Avenida|Av\.|Strada|Ulica|ul\.|Rruga|Carrer|Corso|Piazza|Plaza|Paseo|Travessa|Boulevard) (?:[\p{L}'’.]{1,20} ){0,5}[\p{L}'’.]{0,24},? ?\d{0,4}$|(?<![\p{L}\d])(?:\p{Lu}[\p{L}'’.-]{0,34} ){1,4}\d{0,5} ?[A-Za-z]?$|(?<![\p{L}\d])(?:u|ul|ul\.)$/u;
const OPEN_BOX =
  /(?<![\p{L}])P\.? ?(?:O\.? ?)?(?:B|Bo|Box)?(?: [\p{L}\d]{0,12})?$|(?:Box|USS|USNS|USNV) ?[\p{L}\d]{0,14}$/u;

const WESTERN_REACH = 220;

/** From where an address may be under way at a text's end. */
export function openWesternAddress(text: string, { has, runs }: Facts): number {
  const from = Math.max(0, text.length - WESTERN_REACH);
  const tail = text.slice(from);
  let open = text.length;
  const hold = (pattern: RegExp) => {
    const match = pattern.exec(tail);
    if (match) open = Math.min(open, from + match.index);
  };
  if ((runs[runs.length - 1] ?? 0) > from) {
    hold(OPEN_NUMBERED);
    hold(OPEN_FRENCH);
  }
  const capital = (has & CAPITAL) !== 0;
  if (capital || text.endsWith('u') || tail.includes('ul')) hold(OPEN_EUROPEAN);
  if (capital) hold(OPEN_BOX);
  return open;
}
