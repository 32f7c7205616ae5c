/** Lengths by the first digits of issuers (ISO/IEC 7812): American Express, Diners Club, JCB's older ones, then all others. */
const ISSUERS: readonly [RegExp, readonly number[]][] = [
  [/^3[47]/, [15]],
  [/^3(?:0[0-5]|[68])/, [14, 16]],
  [/^(?:2131|1800)/, [15]],
  [/^4/, [13, 16, 18, 19]],
  [/^(?:35|[2569])/, [16, 17, 18, 19]],
];

/**
 * True for a bank card's number: an issuer's first digits, a length of theirs, and the check digit of Luhn.
 *
 * @param named true where the text calls it a card's: then any length from 13 to 19 will do
 */
export function isCardNumber(digits: string, named = false): boolean {
  if (!/^\d{13,19}$/.test(digits) || /^(\d)\1+$/.test(digits)) return false;
  if (!luhn(digits)) return false;
  return named || ISSUERS.some(([first, lengths]) => lengths.includes(digits.length) && first.test(digits));
}

const ZERO = 0x30;

/** ISO/IEC 7812-1, annex B. */
function luhn(digits: string): boolean {
  let sum = 0;
  for (let i = 0; i < digits.length; i++) {
    const digit = digits.charCodeAt(digits.length - 1 - i) - ZERO;
    sum += i % 2 === 0 ? digit : digit < 5 ? 2 * digit : 2 * digit - 9;
  }
  return sum % 10 === 0;
}
