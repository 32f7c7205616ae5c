import { expect, test } from 'vitest';
import { Page, type PageOrder } from './page.ts';
import type { ReadLine } from './reading.ts';

/** A level line of characters of one width. */
function line(text: string, x: number, y: number, blanks: number[] = []): ReadLine {
  const [width, height] = [text.length * 20, 20];
  const quad = [
    { x, y },
    { x: x + width, y },
    { x: x + width, y: y + height },
    { x, y: y + height },
  ] as const;
  const edges = Array.from({ length: text.length + 1 }, (_, i) => i / text.length);
  return { text, edges, blanks, quad, confidence: 1 };
}

const pageOf = (lines: ReadLine[], order?: PageOrder) => new Page({ width: 800, height: 600, lines }, order);

test('lines come in rows from the top, and pieces of a row from the left', () => {
  const lines = [line('third', 0, 100), line('second', 300, 44), line('first', 0, 40)];
  expect(pageOf(lines).text).toBe('first second\nthird');
  expect(pageOf([]).text).toBe('');
});

test('a part of the text has an area a line that it is of, with a margin around', () => {
  const page = pageOf([line('abcd', 100, 40), line('efgh', 100, 80)]);
  const [start, end] = [page.text.indexOf('c'), page.text.indexOf('f')];
  const areas = page.areasOf(start, end);
  expect(areas).toHaveLength(2);
  expect(areas[0]!.map(({ x, y }) => [Math.round(x), Math.round(y)])).toEqual([
    [137, 37],
    [183, 37],
    [183, 63],
    [137, 63],
  ]);
  expect(areas[1]!.map(({ x }) => Math.round(x))).toEqual([97, 123, 123, 97]);
  // What stands between two lines stands nowhere.
  expect(page.areasOf(4, 5)).toEqual([]);
});

test('blanks that may be there are in one text and not in the other, and move no place', () => {
  const lines = [line('callme', 0, 0, [4])];
  const [whole, parted] = [pageOf(lines), pageOf(lines, 'words')];
  expect([whole.text, parted.text]).toEqual(['callme', 'call me']);
  const at = (page: Page) => {
    const start = page.text.indexOf('me');
    return page.areasOf(start, start + 2);
  };
  expect(at(parted)).toEqual(at(whole));
});

test('characters above one another are columns, from the right; lines beside them are none', () => {
  const columns = [line('毒', 300, 40), line('品', 302, 68), line('出', 200, 40), line('售', 200, 66)];
  const page = pageOf([...columns, line('a line of words', 0, 200), line('一', 500, 400)], 'columns');
  expect(page.text).toBe('毒品\n出售');
  expect(page.areasOf(0, 2)).toHaveLength(2);
  expect(pageOf([line('words', 0, 0), line('more words', 0, 30)], 'columns').text).toBe('');
});
