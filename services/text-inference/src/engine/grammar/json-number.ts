/**
 * Numbers as texts. Integers have up to 15 digits, which a double holds exactly; other numbers up to 15 before and
 * behind the point and an exponent of up to two digits, so that every one is finite. Between bounds: plain decimals
 * of up to 15 digits in all, which as doubles keep their order (IEEE 754's DBL_DIG).
 */

import type { AutomatonBuilder } from './automaton.ts';
import { ConstraintError } from './constraint.ts';

const DIGITS = 15;
const LARGEST = 10 ** DIGITS - 1;

export interface Bounds {
  min: number;
  max: number;
  /** Whether the bound itself is left out. */
  aboveMin: boolean;
  belowMax: boolean;
}

/** Any number, or any integer. */
export function addPlainNumber(builder: AutomatonBuilder, from: number, integer: boolean): number {
  const sign = builder.state();
  builder.epsilon(from, sign);
  builder.range(from, 45, 45, sign);
  const end = builder.state();
  builder.range(sign, 48, 48, end);
  const first = builder.state();
  builder.range(sign, 49, 57, first);
  builder.epsilon(
    builder.repeat(first, 0, DIGITS - 1, (at) => addDigit(builder, at)),
    end,
  );
  if (integer) return end;
  const whole = builder.state();
  builder.epsilon(end, whole);
  const point = builder.text(end, '.');
  builder.epsilon(
    builder.repeat(point, 1, DIGITS, (at) => addDigit(builder, at)),
    whole,
  );
  const number = builder.state();
  builder.epsilon(whole, number);
  const exponent = builder.state();
  for (const e of [69, 101]) builder.range(whole, e, e, exponent);
  const power = builder.state();
  builder.epsilon(exponent, power);
  for (const plusOrMinus of [43, 45]) builder.range(exponent, plusOrMinus, plusOrMinus, power);
  builder.epsilon(
    builder.repeat(power, 1, 2, (at) => addDigit(builder, at)),
    number,
  );
  return number;
}

function addDigit(builder: AutomatonBuilder, from: number): number {
  const to = builder.state();
  builder.range(from, 48, 57, to);
  return to;
}

/** Numbers between bounds, which may be infinite. @throws ConstraintError where a bound has too many digits. */
export function addBoundedNumber(
  builder: AutomatonBuilder,
  from: number,
  bounds: Bounds,
  integer: boolean,
): number {
  const { min, max, aboveMin, belowMax } = integer ? integers(bounds) : bounds;
  const end = builder.state();
  if (min > max) return end;
  const upper = { value: max, left: belowMax };
  const lower = { value: min, left: aboveMin };
  const zero = { value: 0, left: false };
  if (max >= 0) addMagnitudes(builder, from, min >= 0 ? lower : zero, upper, integer, end);
  if (min < 0) {
    const minus = builder.text(from, '-');
    const negated = ({ value, left }: Limit): Limit => ({ value: -value, left });
    // Zero is spelled without a sign.
    const least = max < 0 ? negated(upper) : { value: 0, left: true };
    addMagnitudes(builder, minus, least, negated(lower), integer, end);
  }
  return end;
}

function integers({ min, max, aboveMin, belowMax }: Bounds): Bounds {
  const low = Math.ceil(min) + (aboveMin && Number.isInteger(min) ? 1 : 0);
  const high = Math.floor(max) - (belowMax && Number.isInteger(max) ? 1 : 0);
  return {
    min: Math.max(low, -LARGEST),
    max: Math.min(high, LARGEST),
    aboveMin: false,
    belowMax: false,
  };
}

interface Limit {
  value: number;
  /** Whether the value itself is left out. */
  left: boolean;
}

interface Digits {
  whole: string;
  /** Without zeros at the end. */
  fraction: string;
  left: boolean;
}

/** Decimals from one limit, 0 or more, to another. */
function addMagnitudes(
  builder: AutomatonBuilder,
  from: number,
  lower: Limit,
  upper: Limit,
  integer: boolean,
  end: number,
): void {
  const low = digitsOf(lower);
  const high = upper.value > LARGEST ? undefined : digitsOf(upper);
  if (!low) return;
  for (let length = low.whole.length; length <= (high?.whole.length ?? DIGITS); length++) {
    const magnitude = new Magnitude(
      builder,
      length,
      integer,
      length === low.whole.length ? low : undefined,
      length === high?.whole.length ? high : undefined,
      end,
    );
    magnitude.add(from, 0, true, true);
  }
}

/** Decimals of one length before the point, by how far they still equal a limit's digits. */
class Magnitude {
  readonly #builder: AutomatonBuilder;
  readonly #length: number;
  readonly #integer: boolean;
  readonly #low: Digits | undefined;
  readonly #high: Digits | undefined;
  readonly #end: number;
  readonly #known = new Map<string, number>();

  constructor(
    builder: AutomatonBuilder,
    length: number,
    integer: boolean,
    low: Digits | undefined,
    high: Digits | undefined,
    end: number,
  ) {
    this.#builder = builder;
    this.#length = length;
    this.#integer = integer;
    this.#low = low;
    this.#high = high;
    this.#end = end;
  }

  /**
   * What follows `position` digits.
   * @param atLow whether they are the lower limit's, @param atHigh the upper limit's.
   */
  add(from: number, position: number, atLow: boolean, atHigh: boolean): void {
    const low = atLow ? this.#low : undefined;
    const high = atHigh ? this.#high : undefined;
    const fraction = position - this.#length;
    if (fraction >= 0 && isAbove(low, fraction) && isBelow(high, fraction))
      this.#builder.epsilon(from, this.#end);
    if (fraction >= 0 && (this.#integer || position >= DIGITS)) return;
    const state = fraction === 0 ? this.#builder.text(from, '.') : from;
    const least = position === 0 && this.#length > 1 ? 1 : 0;
    const first = Math.max(least, low ? digit(low, position, this.#length) : 0);
    const last = high ? digit(high, position, this.#length) : 9;
    for (let value = first; value <= last; value++) {
      const nextLow = low !== undefined && value === first && value === digit(low, position, this.#length);
      const nextHigh = high !== undefined && value === last;
      this.#builder.range(state, 48 + value, 48 + value, this.#behind(position + 1, nextLow, nextHigh));
    }
  }

  #behind(position: number, atLow: boolean, atHigh: boolean): number {
    const key = `${position} ${atLow} ${atHigh}`;
    const known = this.#known.get(key);
    if (known !== undefined) return known;
    const state = this.#builder.state();
    this.#known.set(key, state);
    this.add(state, position, atLow, atHigh);
    return state;
  }
}

function digit({ whole, fraction }: Digits, position: number, length: number): number {
  return Number((position < length ? whole[position] : fraction[position - length]) ?? 0);
}

/** Whether a number that equals the lower limit so far may end here: digits that are left would be above it. */
function isAbove(low: Digits | undefined, position: number): boolean {
  return low === undefined || (position >= low.fraction.length && !low.left);
}

function isBelow(high: Digits | undefined, position: number): boolean {
  return high === undefined || position < high.fraction.length || !high.left;
}

/** Undefined where no number of 15 digits reaches it. */
function digitsOf({ value, left }: Limit): Digits | undefined {
  if (value > LARGEST) return undefined;
  const [mantissa, exponent] = value.toExponential().split('e') as [string, string];
  const digits = mantissa.replace('.', '');
  const point = Number(exponent) + 1;
  const padded = point > 0 ? digits.padEnd(point, '0') : '0'.repeat(1 - point) + digits;
  const at = Math.max(1, point);
  const whole = padded.slice(0, at);
  const fraction = padded.slice(at).replace(/0+$/, '');
  if (whole.length + fraction.length > DIGITS)
    throw new ConstraintError(`a bound of more than ${DIGITS} digits is not supported`);
  return { whole, fraction, left };
}
