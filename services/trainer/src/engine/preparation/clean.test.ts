import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { clean } from './clean.ts';

const seed = Number(process.env.LANDFALL_TEST_SEED ?? Math.floor(Math.random() * 2 ** 31));
console.info(`cleaning: LANDFALL_TEST_SEED=${seed}`);

describe('clean', () => {
  it.each([
    ['<p>高血压&nbsp;患者<br/>低盐</p>', '高血压 患者\n低盐', ['html', 'stray blanks']],
    ['<a href="x">链接</a><!-- 广告 --><script>f("<b>")</script>完', '链接完', ['html']],
    ['&lt;3&#20013;&#x6587; &bogus;', '<3中文 &bogus;', ['html']],
    ['a\u0000b\u200bc\ufeff', 'abc', ['control characters']],
    ['一  \r\n\r\n\r\n二', '一\n\n二', ['stray blanks']],
    ['e\u0301', 'é', ['broken Unicode']],
    ['é«˜è¡€åŽ‹æ‚£è€…', '高血压患者', ['broken Unicode']],
    ['cafÃ© â€“ ok', 'café – ok', ['broken Unicode']],
    // What only looks like it.
    ['若 a <b 且 c> d,x<5', '若 a <b 且 c> d,x<5', []],
    ['a <b and c> d', 'a <b and c> d', []],
    ['HTML 中 <br> 换行', 'HTML 中 <br> 换行', []],
    ['写 `<div>` 即可', '写 `<div>` 即可', []],
    ['<问题>与 <think>', '<问题>与 <think>', []],
    ['Das Zeichen „Ä“ und à la carte', 'Das Zeichen „Ä“ und à la carte', []],
    ['👨‍👩‍👧 一家', '👨‍👩‍👧 一家', []],
    ['  def f():\n    return 1', 'def f():\n    return 1', ['stray blanks']],
  ])('%j', (text, expected, removed) => expect(clean(text)).toEqual({ text: expected, removed }));

  it('puts right what was read as Latin-1, whatever it says', () => {
    const han = fc.string({
      unit: fc.integer({ min: 0x4e00, max: 0x9fa5 }).map((c) => String.fromCharCode(c)),
    });
    fc.assert(
      fc.property(han, (text) => {
        expect(clean(Buffer.from(text).toString('latin1')).text).toBe(text);
        expect(clean(text)).toEqual({ text, removed: [] });
      }),
      { seed, numRuns: 300 },
    );
  });

  it('changes nothing the second time where no HTML is written', () => {
    const part = fc.oneof(
      fc.string({ unit: 'binary' }),
      fc.constantFrom('\r', '\n', ' ', '\u3000', '\u200b', 'é', '高血压'),
    );
    fc.assert(
      fc.property(fc.array(part, { maxLength: 12 }), (parts) => {
        const once = clean(parts.join('').replace(/[<&\u00c2-\u00f4]/g, '')).text;
        expect(clean(once)).toEqual({ text: once, removed: [] });
      }),
      { seed, numRuns: 300 },
    );
  });

  it('reads hostile texts to their end', () => {
    for (const part of [
      '<',
      '<!--',
      '<script>',
      '<a ',
      '<p =',
      ' ',
      '&#',
      '&amp',
      '</',
      '\u00e4\u00b8',
      '\n ',
    ]) {
      expect(clean(`${part.repeat(200_000)}x`).text.length).toBeGreaterThan(0);
    }
  });
});
