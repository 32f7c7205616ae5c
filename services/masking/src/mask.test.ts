import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { findPersonalData, mask, PERSONAL_DATA_TYPES } from './mask.ts';

const seed = Number(process.env.LANDFALL_TEST_SEED ?? Math.floor(Math.random() * 2 ** 31));
console.info(`masking: LANDFALL_TEST_SEED=${seed}`);
const check = <T>(property: fc.IProperty<T>) => fc.assert(property, { seed, numRuns: 300 });

const types = (text: string) => findPersonalData(text).map(({ type }) => type);
const parts = (text: string) => findPersonalData(text).map(({ start, end }) => text.slice(start, end));

/** The check character by its definition: the sum of all digits times 2^(17-i) is 1 modulo 11. */
function withIdCheck(body: string): string {
  let sum = 0;
  for (let i = 0; i < 17; i++) sum += Number(body[i]) * (2 ** (17 - i) % 11);
  const check = (12 - (sum % 11)) % 11;
  return body + (check === 10 ? 'X' : check);
}

/** The digit that makes the sum of Luhn a multiple of ten, found by trying. */
function withLuhn(body: string): string {
  for (let digit = 0; digit < 10; digit++) {
    const all = `${body}${digit}`;
    const doubled = [...all]
      .reverse()
      .map((d, i) => (i % 2 ? [0, 2, 4, 6, 8, 1, 3, 5, 7, 9][Number(d)]! : Number(d)));
    if (doubled.reduce((a, b) => a + b, 0) % 10 === 0) return all;
  }
  throw new Error('no digit fits');
}

const digits = (n: number) => fc.stringMatching(new RegExp(`^[0-9]{${n}}$`));
const idNumber = fc
  .tuple(
    fc.constantFrom('110105', '310115', '440305', '510104', '650102', '820000'),
    fc.date({ min: new Date('1930-01-01'), max: new Date('2020-12-31'), noInvalidDate: true }),
    digits(3),
  )
  .map(([region, date, order]) =>
    withIdCheck(region + date.toISOString().slice(0, 10).replaceAll('-', '') + order),
  );
const card = fc
  .tuple(fc.constantFrom('622588', '621700', '4', '52', '6011'), fc.constantFrom(16, 19), digits(18))
  .filter(([first, length]) => first.length + 18 >= length && !(first === '52' && length === 19))
  .map(([first, length, rest]) => withLuhn((first + rest).slice(0, length - 1)))
  .filter((number) => types(number)[0] !== 'id_number');
const mobile = fc.tuple(fc.constantFrom('13', '15', '17', '18', '19'), digits(9)).map((p) => p.join(''));
const word = fc.constantFrom(
  '患者',
  '电话:',
  ',',
  '。',
  '地址是北京市 ',
  '(',
  ')',
  ' and ',
  '“',
  '\n',
  '高血压',
);

describe('masking of personal data', () => {
  it.each([
    ['身份证号11010519491231002X,请核对', ['id_number']],
    ['身份证 110105 19491231 002x', ['id_number']],
    ['老身份证 110105491231002', ['id_number']],
    // A wrong check character, a day that was not, a region that is none.
    ['110105194912310021', []],
    ['110105199902300023', []],
    ['00010519491231002X', []],
    ['电话13812345678转告', ['phone']],
    ['+86 138 1234 5678 或 0086-13812345678', ['phone', 'phone']],
    ['座机(010)62345678、0755-8234567,分机 021-6234 5678', ['phone', 'phone', 'phone']],
    ['客服400-810-8888', ['phone']],
    ['call +44 20 7946 0958 or (415) 555-2671', ['phone', 'phone']],
    ['卡号6222 0212 3456 7891', []],
    ['card 4111-1111-1111-1111.', ['card']],
    ['card 4111 1111 1111 1112', []],
    ['写信到 zhang.san@example.com.cn。', ['email']],
    ['a@b, @name, x@localhost, 1@2.3', []],
    ["mail <o'neil+x@mail.example.org>!", ['email']],
    // Not a person's: dates, amounts, hashes, decimals, versions, orders, milliseconds.
    ['2023-10-12 13:45:06,共 12,345,678.90 元', []],
    ['3.14159265358979323846 与 0.6222021234567890', []],
    ['sha 13812345678abcdef、x13812345678', []],
    ['订单 20231012138123456789012、时间 1795478319810', []],
    ['1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16', []],
    ['血压 140/90 mmHg,年龄 45,剂量 0.5-1 g', []],
    ['13812345678', ['phone']],
    ['从 192.168.10.254 登录,端口 8080', ['ip_address']],
    // Card and first octet together are nineteen digits that pass the check digit.
    ['患者4030467273967049(158.0.0.0', ['card', 'ip_address']],
    ['4030467273967049 158.0.0.0', ['card', 'ip_address']],
    [
      '地址 2001:db8::ff00:42:8329。又 ::ffff:10.0.0.1, fe80::1%eth0',
      ['ip_address', 'ip_address', 'ip_address'],
    ],
    ['1.2.3.4.5、256.1.1.1、01.2.3.4、1.2.3、v10.0.0.1', []],
    ['12:30:45, a::b, std::vector, ::, 1:2:3:4:5:6:7:8:9', []],
    // Passports are looked for when asked.
    ['护照 E12345678', []],
    // An address as a sender's name, in full width.
    ['zs＠example．com', ['email']],
    ['１３８１２３４５６７８', ['phone']],
  ])('%s', (text, expected) => expect(types(text)).toEqual(expected));

  it('replaces by type and leaves the rest, also beside one another and in full width', () => {
    const text = '张三(13812345678,zs@a.cn)卡4111111111111111，证１１０１０５１９４９１２３１００２Ｘ。';
    expect(mask(text).text).toBe('张三([PHONE],[EMAIL])卡[CARD]，证[ID_NUMBER]。');
    expect(mask(text, { types: ['phone'] }).found.map(({ type }) => type)).toEqual(['phone']);
    expect(mask('座机(010)62345678。', { replacement: (type) => `<${type}>` }).text).toBe('座机<phone>。');
    const passports = '护照E12345678、EA1234567,件号 XE12345678、E123456789';
    expect(mask(passports, { types: ['passport'] }).text).toBe(
      '护照[PASSPORT]、[PASSPORT],件号 XE12345678、E123456789',
    );
    expect(mask('a@b.cn@c.de').text).toBe('[EMAIL]@c.de');
    expect(mask('ip 10.0.0.1,').text).toBe('ip [IP_ADDRESS],');
    expect(mask('+86 13812345678').text).toBe('[PHONE]');
    expect(mask('13812345678 13912345679').text).toBe('[PHONE] [PHONE]');
    expect(mask('name13812345678@example.com').text).toBe('[EMAIL]');
  });

  it('takes what follows a named phone for a number of its own', () => {
    expect(parts('电话:13000000000(6225 8800 0000 0001。')).toEqual(['13000000000', '6225 8800 0000 0001']);
  });

  it('finds every kind wherever it stands, and masking twice changes nothing more', () => {
    const data = fc.oneof(
      idNumber.map((text) => ['id_number', text] as const),
      card.map((text) => ['card', text] as const),
      card.map((text) => ['card', text.replace(/(\d{4})(?=\d)/g, '$1 ')] as const),
      mobile.map((text) => ['phone', text] as const),
      mobile.map((text) => ['phone', `+86 ${text}`] as const),
      mobile.map((text) => ['email', `u${text}@mail.example.cn`] as const),
      fc.ipV4().map((text) => ['ip_address', text] as const),
      fc
        .ipV6()
        .filter((text) => /\d/.test(text))
        .map((text) => ['ip_address', text] as const),
    );
    const separator = fc.constantFrom('患者', '电话:', ',', '。', '”', ' is ', '\n', '(', '、');
    check(
      fc.property(fc.array(fc.tuple(separator, data), { maxLength: 6 }), (list) => {
        const text = `${list.map(([before, [, value]]) => before + value).join('')}。`;
        expect(types(text)).toEqual(list.map(([, [type]]) => type));
        expect(parts(text)).toEqual(list.map(([, [, value]]) => value));
        const masked = mask(text).text;
        expect(mask(masked)).toEqual({ text: masked, found: [] });
      }),
    );
  });

  it('never overlaps, stays in the text, and keeps what it does not report', () => {
    const junk = fc.array(fc.oneof(word, digits(4), digits(11), fc.string({ maxLength: 6 }), idNumber), {
      maxLength: 12,
    });
    check(
      fc.property(junk, (list) => {
        const text = list.join('');
        const types = PERSONAL_DATA_TYPES;
        let end = 0;
        let rest = '';
        for (const one of findPersonalData(text, types)) {
          expect(one.start).toBeGreaterThanOrEqual(end);
          expect(one.end).toBeGreaterThan(one.start);
          rest += text.slice(end, one.start);
          end = one.end;
        }
        expect(end).toBeLessThanOrEqual(text.length);
        expect(mask(text, { types, replacement: () => '' }).text).toBe(rest + text.slice(end));
      }),
    );
  });

  it('reads hostile texts to their end', () => {
    for (const part of [
      '1',
      '1 ',
      '1-',
      '(1',
      '+1(',
      'a@',
      'a.',
      '@',
      '4111 ',
      'x@a.',
      '1.',
      ':',
      '1:',
      '::1',
      'E1',
      '1.1.1.1.',
      '+',
      '@a',
    ]) {
      const text = part.repeat(100_000);
      expect(mask(text, { types: PERSONAL_DATA_TYPES }).text.length).toBeGreaterThan(0);
    }
  });
});
