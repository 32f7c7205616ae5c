import { parsePhoneNumberFromString } from 'libphonenumber-js/max';

/** Groups of digits as they stand, the sign before the first one apart. */
export interface Grouped {
  /** True for a leading +. */
  plus: boolean;
  groups: readonly string[];
}

/**
 * True for a telephone number: of mainland China a mobile one, one with an area code, or a service number (400, 800);
 * of anywhere with + and the country; of North America with its usual separators.
 */
export function isPhoneNumber({ plus, groups }: Grouped): boolean {
  const digits = groups.join('');
  const lengths = groups.map(({ length }) => length).join('-');
  if (plus) {
    if (digits.startsWith('86')) return isChinese(digits.slice(2), true);
    // E.164: at most fifteen digits, of which the country takes one to three.
    return /^[1-9]\d{7,14}$/.test(digits) && groups.length <= 6;
  }
  const national = /^(?:00)?86(?=1[3-9])/.exec(digits);
  if (national && isMobile(digits.slice(national[0].length))) return true;
  if (isMobile(digits)) return ['11', '3-4-4', '3-8', '4-4-3', '7-4'].includes(lengths);
  // A run of plain digits that happens to begin with 0 is a phone only where it can be nothing else.
  if (groups.length > 1 && isLandline(groups)) return true;
  if (groups.length === 1 && /^0(?:10|2\d)[2-8]\d{7}$/.test(digits)) return true;
  if (groups.length === 1 && /^0[3-9]\d{2}[2-8]\d{6,7}$/.test(digits)) return true;
  if (/^[48]00\d{7}$/.test(digits) && ['10', '3-3-4', '3-4-3', '3-7'].includes(lengths)) return true;
  return lengths === '3-3-4' && /^[2-9]\d{2}[2-9]\d{6}$/.test(digits);
}

function isMobile(digits: string): boolean {
  return /^1[3-9]\d{9}$/.test(digits);
}

function isChinese(digits: string, withCountry: boolean): boolean {
  const area = withCountry ? digits.replace(/^0/, '') : digits;
  return isMobile(digits) || /^(?:10|2\d|[3-9]\d{2})[2-8]\d{6,7}$/.test(area);
}

/** Area code, number, and perhaps an extension. */
function isLandline(groups: readonly string[]): boolean {
  const [area, ...rest] = groups;
  if (!/^0(?:10|2\d|[3-9]\d{2})$/.test(area!)) return false;
  const [first, second] = rest;
  if (/^[2-8]\d{6,7}$/.test(first!))
    return rest.length === 1 || (rest.length === 2 && /^\d{1,5}$/.test(second!));
  return rest.length === 2 && /^[2-8]\d{2,3}$/.test(first!) && /^\d{4}$/.test(second!);
}

/** Whose plans are tried for a number without a country's code. */
const LIKELY_COUNTRIES = [
  'CN',
  'US',
  'GB',
  'DE',
  'FR',
  'IT',
  'ES',
  'AU',
  'IN',
  'JP',
  'HK',
  'NL',
  'SE',
  'CH',
] as const;

/**
 * True for a number by the numbering plan of a likely country (libphonenumber's), without the country's code.
 *
 * @param named true where the text calls it a phone's: then the form alone will do
 */
export function isNationalNumber(written: string, named: boolean): boolean {
  const digits = written.replace(/\D/g, '');
  if (digits.length < 7 || digits.length > 15 || /^(\d)\1+$/.test(digits)) return false;
  if (/^\d{4}[-.]\d{1,2}[-.]\d{1,2}$|^\d{1,2}[-.]\d{1,2}[-.]\d{4}$/.test(written)) return false;
  if (named) return true;
  const text = written.startsWith('00') ? `+${digits.slice(2)}` : written;
  return LIKELY_COUNTRIES.some((country) => parsePhoneNumberFromString(text, country)?.isValid() === true);
}
