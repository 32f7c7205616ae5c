import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { CATEGORIES, categoryModel } from './model.ts';
import { CategoryScanner, classify } from './scanner.ts';

const seed = Number(process.env.LANDFALL_TEST_SEED ?? Math.floor(Math.random() * 2 ** 31));
console.info(`categories: LANDFALL_TEST_SEED=${seed}`);

/** Parts with their scores, as pieces of a text gave them. */
function parts(pieces: readonly string[], dealtWith = false) {
  const found: { end: number; scores: number[] }[] = [];
  const scanner = new CategoryScanner((end, scores) => {
    found.push({ end, scores: [...scores] });
    return dealtWith && Math.max(...scores) > 0.5;
  });
  for (const piece of pieces) scanner.push(piece);
  scanner.end();
  return found;
}

const BAD = [
  ['violence', '我一定要用菜刀杀死他全家', 'I swear I will stab him and his family to death'],
  ['self_harm', '活着太累了,我想割腕自杀', 'I want to kill myself and end my life tonight'],
  ['sexual', '求几部无码色情片,想看女主播的裸照', 'send me nudes, I am so horny and want to fuck'],
  ['hate', '黑人都是劣等种族,滚出去', 'all immigrants are subhuman vermin and should be deported'],
  ['illegal_goods', '出售冰毒和海洛因,货到付款', 'where can I buy cocaine and an unregistered gun'],
  [
    'fraud',
    '写一段冒充银行客服骗取验证码的话术',
    'write a phishing email pretending to be the bank to steal passwords',
  ],
] as const;

describe('categories', () => {
  it.each(BAD)('%s is told in both languages', (category, ...texts) => {
    for (const text of texts) {
      const scores = classify(text);
      expect(scores[category], text).toBeGreaterThan(0.8);
      expect(CATEGORIES.reduce((best, one) => (scores[one] > scores[best] ? one : best))).toBe(category);
    }
  });

  it.each([
    '高血压患者日常饮食需要注意什么?',
    '怎么杀死一个僵尸进程',
    '警方通报破获一起电信诈骗案,提醒市民注意防范。',
    'How do I kill a process in linux?',
    'Thank you, the meeting went well and the report is ready.',
    '外壳表面有一条划痕,请判断严重程度。',
    '',
    '😀😀😀',
    '12345 67890',
  ])('%s is of none', (text) => expect(Math.max(...Object.values(classify(text)))).toBeLessThan(0.5));

  it('reads a text however it is written', () => {
    const wide = (text: string) =>
      text.replace(/[!-~]/g, (c) => String.fromCharCode(c.charCodeAt(0) + 0xfee0));
    const ways: ((text: string) => string)[] = [
      (text) => [...text].join('\u200b'),
      (text) => text.toUpperCase(),
      wide,
      (text) => text.replaceAll('a', 'а').replaceAll('o', 'о').replaceAll('e', 'е'),
    ];
    for (const [category, chinese, english] of BAD) {
      for (const text of [chinese, english]) {
        for (const way of ways)
          expect(classify(way(text))[category], way(text)).toBeCloseTo(classify(text)[category], 5);
      }
      expect(classify([...chinese].join(' '))[category]).toBeCloseTo(classify(chinese)[category], 1);
      // Words of one letter are parts of their neighbours there.
      const spelled = english.replace(/[a-z]{2,}/gi, (word) => [...word].join('-'));
      expect(classify(spelled)[category], spelled).toBeGreaterThan(0.7);
    }
  });

  it('finds what stands among much that is harmless', () => {
    const harmless = '今天的会议讨论了项目排期,大家都同意按计划进行。'.repeat(50);
    const at = harmless.length / 2;
    const text = `${harmless.slice(0, at)}${BAD[0][1]}。${harmless.slice(at)}`;
    expect(classify(text).violence).toBeGreaterThan(0.8);
    expect(Math.max(...Object.values(classify(harmless)))).toBeLessThan(0.5);
  });

  it('gives the same parts and scores however a text comes in pieces, and parts that cover it', () => {
    const piece = fc.constantFrom(
      ...BAD.flatMap(([, ...texts]) => texts),
      ...[
        '。',
        '! ',
        '. ',
        'a',
        'b ',
        ' - ',
        '\n',
        '😀',
        '\ud83d',
        '\u200b',
        '3',
        '我',
        'k i l l',
        '.',
        '…',
        ' '.repeat(600),
      ],
    );
    fc.assert(
      fc.property(
        fc.array(piece, { maxLength: 12 }),
        fc.integer({ min: 1, max: 9 }),
        fc.boolean(),
        (pieces, size, dealt) => {
          const text = pieces.join('');
          const cut = text.match(new RegExp(`[\\s\\S]{1,${size}}`, 'g')) ?? [];
          const whole = parts([text], dealt);
          expect(parts(cut, dealt)).toEqual(whole);
          expect(whole.at(-1)?.end ?? 0).toBe(text.length);
          const ends = [0, ...whole.map(({ end }) => end)];
          for (let i = 1; i < ends.length; i++) {
            expect(ends[i]!).toBeGreaterThan(ends[i - 1]!);
            expect(ends[i]! - ends[i - 1]!).toBeLessThanOrEqual(1024);
          }
        },
      ),
      { seed, numRuns: 300 },
    );
  });

  it('holds back no more than a part, whatever comes', () => {
    for (const unit of ['我', 'word ', 'a ', '-', 'x', '.', '😀', '9']) {
      let [seen, last, most] = [0, 0, 0];
      const scanner = new CategoryScanner((end) => {
        last = end;
        return false;
      });
      for (let i = 0; i < 5000; i++) {
        scanner.push(unit);
        seen += unit.length;
        most = Math.max(most, seen - last);
      }
      expect(most, unit).toBeLessThanOrEqual(1024);
    }
  });

  it('has a table of at most 2 MB', () => expect(categoryModel().weights.length).toBeLessThanOrEqual(2e6));
});
