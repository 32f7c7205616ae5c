import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { isCreditCode } from './credit-code.ts';
import { isIban } from './iban.ts';
import { findAll, findPersonalData, mask, PERSONAL_DATA_TYPES } from './mask.ts';
import { compileRule, RuleError } from './rules.ts';

const seed = Number(process.env.LANDFALL_TEST_SEED ?? Math.floor(Math.random() * 2 ** 31));
console.info(`finders: LANDFALL_TEST_SEED=${seed}`);

const found = (text: string) =>
  findPersonalData(text, PERSONAL_DATA_TYPES).map(
    ({ type, start, end }) => `${type} ${text.slice(start, end)}`,
  );

describe('what is found', () => {
  it.each([
    ['信用代码91350100M000100Y43。', ['credit_code 91350100M000100Y43']],
    ['信用代码91350100M000100Y44。', []],
    ['IBAN GB29 NWBK 6016 1331 9268 19, thanks', ['iban GB29 NWBK 6016 1331 9268 19']],
    ['de89370400440532013000', ['iban de89370400440532013000']],
    ['DE89370400440532013001', []],
    [
      '车牌京A12345、粤BD12345和沪A·88888',
      ['license_plate 京A12345', 'license_plate 粤BD12345', 'license_plate 沪A·88888'],
    ],
    ['her SSN is 123-45-6789, not 000-12-3456', ['us_ssn 123-45-6789']],
    ['Passport number: 483920185', ['passport 483920185']],
    ['生于1990年5月1日,2023年5月1日入职', ['date_of_birth 1990年5月1日']],
    ['She was born on March 3, 1985 in Oslo', ['date_of_birth March 3, 1985']],
    ['患者王建国,男,联系人李芳', ['person 王建国', 'person 李芳']],
    ['欧阳修远先生您好', ['person 欧阳修远']],
    ['请联系买买提·艾力', ['person 买买提·艾力']],
    ['高血压患者应当低盐饮食,每天散步,方法很简单', []],
    ['My name is Anna Kowalska', ['person Anna Kowalska']],
    ["Ask Dr. O'Neil or Jean-Luc van der Berg", ["person O'Neil", 'person Jean-Luc van der Berg']],
    ['The Quick Start of Visual Studio in May', []],
    ['住在浙江省杭州市西湖区文三路90号5号楼301室,近地铁', ['address 浙江省杭州市西湖区文三路90号5号楼301室']],
    ['我知道3号线路在市区', []],
    ['Ship to 12 Baker Street, London NW1 6XE', ['address 12 Baker Street, London NW1 6XE']],
    [
      'at 742 Evergreen Terrace, Springfield, IL 62704.',
      ['address 742 Evergreen Terrace, Springfield, IL 62704'],
    ],
    ['tel. 020 7946 0958 x12', ['phone 020 7946 0958 x12']],
  ])('%s', (text, expected) => expect(found(text)).toEqual(expected));

  it.each([
    ['１３８​１２３４​５６７８', 'phone'],
    ['1 3 8 1 2 3 4 5 6 7 8', 'phone'],
    ['138·1234·5678', 'phone'],
    ['l38O1234567', 'phone'],
    ['一三八一二三四五六七八', 'phone'],
    ['①③⑧①②③④⑤⑥⑦⑧', 'phone'],
    ['𝟏𝟑𝟖𝟏𝟐𝟑𝟒𝟓𝟔𝟕𝟖', 'phone'],
    ['٤١١١١١١١١١١١١١١١', 'card'],
    ['4111_1111_1111_1111', 'card'],
    ['4 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1', 'card'],
    ['1101 0519 4912 3100 2X', 'id_number'],
    ['11010519491231002Х', 'id_number'],
    ['z​s@exam​ple.com', 'email'],
    ['GB29-NWBK-6016-1331-9268-19', 'iban'],
  ])('is not evaded by %s', (text, type) => {
    const { text: masked, found: all } = mask(`<${text}>`, { types: PERSONAL_DATA_TYPES });
    expect(masked).toBe(`<[${type.toUpperCase()}]>`);
    expect(all).toEqual([{ type, start: 1, end: 1 + text.length }]);
  });

  it('finds what a rule of a customer describes, in time that is linear in the text', () => {
    const rule = compileRule({ name: 'employee_id', pattern: 'LF-\\d{4,6}', maxLength: 9 });
    const text = 'LF-12345 wrote to LF-1234567';
    expect(findAll(text, new Set(), [rule])).toEqual([
      { type: 'employee_id', start: 0, end: 8 },
      { type: 'employee_id', start: 18, end: 27 },
    ]);
    for (const pattern of ['(?=a)b', '(a', 'a*', '(\\w{1,900}){1,900}']) {
      expect(() => compileRule({ name: 'x', pattern, maxLength: 10 })).toThrow(RuleError);
    }
    const slow = compileRule({ name: 'x', pattern: '(a+)+b', maxLength: 10 });
    expect([...slow.find('a'.repeat(2_000))]).toEqual([]);
  });

  it('lets no changed character pass a check', () => {
    const codes = [
      ['91350100M000100Y43', isCreditCode, '0123456789ABCDEFGHJKLMNPQRTUWXY'],
      ['GB29NWBK60161331926819', isIban, '0123456789'],
    ] as const;
    for (const [code, check, characters] of codes) {
      expect(check(code)).toBe(true);
      fc.assert(
        fc.property(fc.nat(code.length - 1), fc.constantFrom(...characters), (at, character) => {
          fc.pre(code[at] !== character && /\d/.test(code[at]!));
          expect(check(code.slice(0, at) + character + code.slice(at + 1))).toBe(false);
        }),
        { seed, numRuns: 200 },
      );
    }
  });
});
