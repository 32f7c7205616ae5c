/** First two digits: provinces, municipalities, autonomous regions, and the special administrative regions. */
const REGIONS = new Set(
  (
    '11 12 13 14 15 21 22 23 31 32 33 34 35 36 37 41 42 43 44 45 46 ' +
    '50 51 52 53 54 61 62 63 64 65 71 81 82 83 91'
  ).split(' '),
);
const WEIGHTS = [7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2];
const ZERO = 0x30;
const CHECK_CHARACTERS = '10X98765432';

/**
 * True for a resident identity number: region, date of birth and check character by GB 11643-1999, or the form of 15
 * digits that was given before, which has none.
 *
 * @param text digits without separators, a final x in either case
 */
export function isIdNumber(text: string): boolean {
  if (!REGIONS.has(text.slice(0, 2))) return false;
  if (/^\d{15}$/.test(text)) return isDate(`19${text.slice(6, 12)}`);
  return /^\d{17}[\dXx]$/.test(text) && isDate(text.slice(6, 14)) && hasIdCheck(text);
}

/** True when the last character is the check character of the seventeen before it (ISO 7064, MOD 11-2). */
export function hasIdCheck(text: string): boolean {
  let sum = 0;
  for (let i = 0; i < 17; i++) sum += WEIGHTS[i]! * (text.charCodeAt(i) - ZERO);
  return text[17]!.toUpperCase() === CHECK_CHARACTERS[sum % 11];
}

/** A day that was: yyyymmdd from 1850 on. */
function isDate(text: string): boolean {
  const [year, month, day] = [Number(text.slice(0, 4)), Number(text.slice(4, 6)), Number(text.slice(6, 8))];
  if (month < 1 || month > 12 || day < 1 || day > 31 || year < 1850) return false;
  if (year > new Date().getUTCFullYear()) return false;
  return day <= 28 || day <= new Date(Date.UTC(year, month, 0)).getUTCDate();
}
