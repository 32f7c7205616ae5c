import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { findPersonalData, mask, NUMBERED_TYPES, PERSONAL_DATA_TYPES, placeholder } from './mask.ts';
import { personalDataCheck } from './personal-data-check.ts';
import { compileRule } from './rules.ts';
import { StreamGuard } from './stream-guard.ts';

const seed = Number(process.env.LANDFALL_TEST_SEED ?? Math.floor(Math.random() * 2 ** 31));
console.info(`stream guard: LANDFALL_TEST_SEED=${seed}`);

const all = new Set(PERSONAL_DATA_TYPES);
const guard = (types: ReadonlySet<(typeof PERSONAL_DATA_TYPES)[number]> = all) =>
  new StreamGuard(personalDataCheck(types), ({ type }) => placeholder(type));

/** Parts of a text as a transport may cut it: `first` bytes, then `size` at a time. */
function cut(text: string, first: number, size: number): string[] {
  const bytes = Buffer.from(text);
  const decoder = new TextDecoder();
  const parts: string[] = [];
  for (let at = 0, to = first; at < bytes.length; at = to, to += size) {
    parts.push(decoder.decode(bytes.subarray(at, to), { stream: true }));
  }
  return parts;
}

function shown(parts: readonly string[], checked = guard()): string {
  return parts.map((part) => checked.push(part)).join('') + checked.end();
}

const TEXTS = [
  '患者王建国,男,45岁,身份证号11010519491231002X,联系电话138 1234 5678,住址:浙江省杭州市西湖区文三路90号5号楼301室。',
  '您好,我叫欧阳修远,生于1990年5月1日,邮箱zhang.san@example.com.cn,卡号6222 8812 3456 7890 128。',
  '请联系买买提·艾力或李芳老师,车牌京A·12345,信用代码91350100M000100Y43。',
  '高血压患者应当低盐饮食,每天食盐不超过五克,多吃新鲜蔬菜和水果,并且限制饮酒。',
  'My name is Anna Kowalska and I live at 742 Evergreen Terrace, Springfield, IL 62704. Call (415) 555-2671 x12.',
  'Dr. Jean-Luc van der Berg was born on 3 March 1985; IBAN GB29 NWBK 6016 1331 9268 19, card 4111-1111-1111-1111.',
  'from 192.168.10.254 and 2001:db8::ff00:42:8329, ssn 123-45-6789, passport number is 483920185, mail a@b.example!',
  '１３８​１２３４​５６７８ 或 l38O1234567,一三八一二三四五六七八;𝟏𝟑𝟖𝟏𝟐𝟑𝟒𝟓𝟔𝟕𝟖。',
  'Visit us at Rue de Rivoli 12, 75001 Paris or Hauptstraße 7. The Quick Start is in Section 12 of the Book.',
  '昨天张伟告诉我,他和王芳搬到深圳市南山区科技园12号去了,电话没变,是13812345678转2。',
  'Dr. Springfield,254 and 2001:db8::ff00:42:8329,',
  'Payment of 12,345.67 EUR on 2023-10-12 13:45:06 for order AB1234567890 went through; version 1.2.3.4.5 is out.',
  '',
];

describe('a guarded stream', () => {
  it.each(TEXTS)('shows what a check of the whole would, however it is cut: %s', (text) => {
    const whole = mask(text, { types: PERSONAL_DATA_TYPES }).text;
    for (let size = 1; size <= 8; size++) {
      for (let first = 1; first <= size; first++) expect(shown(cut(text, first, size))).toBe(whole);
    }
    for (let at = 0; at <= text.length; at++) expect(shown([text.slice(0, at), text.slice(at)])).toBe(whole);
  });

  it('does so for texts put together at random', () => {
    const piece = fc.constantFrom(
      ...TEXTS.flatMap((text) => text.split(/(?<=[,，。;.])/)),
      ' ',
      '\n',
      '1',
      '中山路',
      'Anna',
      '王',
      '@',
      '号',
    );
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 8 }), fc.integer({ min: 1, max: 8 }), (pieces, size) => {
        const text = pieces.join('');
        expect(shown(cut(text, size, size))).toBe(mask(text, { types: PERSONAL_DATA_TYPES }).text);
      }),
      { seed, numRuns: 300 },
    );
  });

  it('does so for texts that are cut at random, whatever is looked for', () => {
    const piece = fc.constantFrom(
      ...TEXTS.flatMap((text) => text.split(/(?<=[,，。;. ])/)),
      ...'·〇l_-+(x:生'.split(''),
      '转12',
      '护照',
      'DOB ',
      '京A',
      "O'",
      '北京花园',
      '１',
      '\u200b',
    );
    const types = fc.constantFrom(all, new Set(NUMBERED_TYPES), new Set(['phone', 'card'] as const));
    const sizes = fc.array(fc.integer({ min: 1, max: 12 }), { minLength: 1, maxLength: 6 });
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 16 }), sizes, types, (pieces, sizes, types) => {
        const text = pieces.join('');
        const parts: string[] = [];
        for (let at = 0, i = 0; at < text.length; at += sizes[i++ % sizes.length]!)
          parts.push(text.slice(at, at + sizes[i % sizes.length]!));
        expect(shown(parts, guard(types))).toBe(mask(text, { types: [...types] }).text);
      }),
      { seed, numRuns: 500 },
    );
  });

  it('holds nothing of prose for what has a form of its own, and little for the rest', () => {
    const prose = '饮食应当清淡,多吃蔬菜,少喝饮料;保持心情愉快。';
    const numbered = guard(new Set(NUMBERED_TYPES));
    for (const character of prose) {
      numbered.push(character);
      expect(numbered.held).toBe(0);
    }
    const guarded = guard();
    let most = 0;
    for (const character of prose.repeat(20)) {
      guarded.push(character);
      most = Math.max(most, guarded.held);
    }
    expect(most).toBeLessThanOrEqual(40);
  });

  it('holds back as much as a rule of a customer may match', () => {
    const rule = compileRule({ name: 'case', pattern: 'Case [A-Z]{3} \\d{3}', maxLength: 12 });
    const text = 'see Case ABC 123 and Case ABD 12';
    for (let size = 1; size <= 8; size++) {
      const checked = new StreamGuard(personalDataCheck(new Set(), [rule]), () => '#');
      expect(shown(cut(text, size, size), checked)).toBe('see # and Case ABD 12');
    }
  });

  it('keeps a bounded part of a stream that never settles', () => {
    const guarded = guard();
    for (let i = 0; i < 200; i++) guarded.push('12345678'.repeat(8));
    expect(guarded.held).toBeLessThanOrEqual(1024);
    expect(findPersonalData('1'.repeat(5000), PERSONAL_DATA_TYPES)).toEqual([]);
  });
});
