import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { StopStrings } from './stop-strings.ts';

function feed(stops: string[], pieces: string[]): { shown: string[]; stop?: string } {
  const matcher = new StopStrings(stops);
  const shown: string[] = [];
  for (const piece of pieces) {
    const { text, stop } = matcher.push(piece);
    shown.push(text);
    if (stop !== undefined) return { shown, stop };
  }
  shown.push(matcher.flush());
  return { shown };
}

describe('StopStrings', () => {
  test('a stop string across three pieces is never shown in part', () => {
    expect(feed(['\n\nUser:'], ['好的', '。\n', '\nUs', 'er: 再见'])).toEqual({
      shown: ['好的', '。', '', ''],
      stop: '\n\nUser:',
    });
  });

  test('what was held back comes out when it turns out to be something else', () => {
    expect(feed(['abc'], ['xa', 'b', 'd'])).toEqual({ shown: ['x', '', 'abd', ''] });
    expect(feed(['aab'], ['aa', 'aa', 'b'])).toEqual({ shown: ['', 'aa', ''], stop: 'aab' });
  });

  test('what is held back at the end is shown', () => {
    expect(feed(['END'], ['the EN']).shown.join('')).toBe('the EN');
  });

  test('the earliest of several wins', () => {
    expect(feed(['cd', 'bcd'], ['abcde'])).toEqual({ shown: ['a'], stop: 'bcd' });
  });

  test('however the text is cut, the result is that of the whole text', () => {
    const letters = fc.string({ unit: fc.constantFrom('a', 'b', '停', '😀'), maxLength: 24 });
    const stop = fc.string({ unit: fc.constantFrom('a', 'b', '停', '😀'), minLength: 1, maxLength: 4 });
    fc.assert(
      fc.property(fc.array(letters, { maxLength: 6 }), fc.array(stop, { maxLength: 3 }), (pieces, stops) => {
        const whole = pieces.join('');
        const found = stops.map((s) => whole.indexOf(s)).filter((i) => i >= 0);
        const expected = found.length ? whole.slice(0, Math.min(...found)) : whole;
        const { shown, stop: met } = feed(stops, pieces);
        // A shorter stop may end inside the first piece before an earlier, longer one is complete; the text shown
        // is then still a prefix that ends before some stop string.
        expect(whole.startsWith(shown.join(''))).toBe(true);
        expect(met !== undefined).toBe(found.length > 0);
        if (found.length <= 1) expect(shown.join('')).toBe(expected);
      }),
    );
  });
});
