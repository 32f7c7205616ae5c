import type { Point, Quad, Reading, ReadLine } from './reading.ts';

/** Part of a line's height that is covered beyond it, above and below. */
const MARGIN = 0.15;
/** How far below its neighbour's middle a piece of the same row may stand, in heights of the row. */
const SAME_ROW = 0.5;

export type PageOrder = 'rows' | 'words' | 'columns';

/** Characters that are found together in a column now and then. */
const MOST_IN_COLUMN = 3;
/** How far below the one before the next character of a column may stand, in heights of the larger. */
const NEXT_BELOW = 2.5;

interface Piece {
  line: ReadLine;
  /** Where its text begins in the page's. */
  start: number;
}

/** What was read in an image as one text in reading order, and where its parts stand in the image. */
export class Page {
  /** Rows from the top, one a line; what stands beside one another is parted by a blank. */
  readonly text: string;
  readonly #pieces: readonly Piece[];

  /**
   * What is looked for may be in one of these texts and not in another.
   * @param order `rows` as they were read; `words` with blanks where one may stand that was not read, so that words that
   *   ran together are words again, and some that are one are in pieces; `columns` of single characters from above, as
   *   Chinese stands upright, from the right
   */
  constructor({ lines }: Reading, order: PageOrder = 'rows') {
    const pieces: Piece[] = [];
    let text = '';
    for (const row of ORDERS[order](lines)) {
      if (text !== '') text += '\n';
      for (const [i, line] of row.entries()) {
        if (i > 0 && order !== 'columns') text += ' ';
        pieces.push({ line, start: text.length });
        text += line.text;
      }
    }
    this.text = text;
    this.#pieces = pieces;
  }

  /** Areas of the image that a part of the text stands in, with a margin, one a line that it is of. */
  areasOf(start: number, end: number): Quad[] {
    return this.#pieces.flatMap(({ line, start: from }) => {
      const first = Math.max(0, start - from);
      const last = Math.min(line.text.length, end - from);
      return first < last ? [partOf(line, line.edges[first]!, line.edges[last]!)] : [];
    });
  }
}

/** A line with the blanks that it may have. */
function withBlanks(line: ReadLine): ReadLine {
  let text = '';
  const edges = [0];
  for (let unit = 0; unit < line.text.length; unit++) {
    if (line.blanks.includes(unit)) {
      text += ' ';
      edges.push(edges.at(-1)!);
    }
    text += line.text[unit];
    edges.push(line.edges[unit + 1]!);
  }
  return { ...line, text, edges, blanks: [] };
}

/** The part of a line between two fractions of its length. */
function partOf({ quad }: ReadLine, from: number, to: number): Quad {
  const [begin, end, , below] = quad;
  const along = { x: end.x - begin.x, y: end.y - begin.y };
  const down = { x: below.x - begin.x, y: below.y - begin.y };
  // An end of the line is an end of its text, not of what is painted.
  const over = (MARGIN * Math.hypot(down.x, down.y)) / Math.max(1, Math.hypot(along.x, along.y));
  const at = (u: number, v: number): Point => ({
    x: begin.x + u * along.x + v * down.x,
    y: begin.y + u * along.y + v * down.y,
  });
  const [first, last] = [from - over, to + over];
  return [at(first, -MARGIN), at(last, -MARGIN), at(last, 1 + MARGIN), at(first, 1 + MARGIN)];
}

/** Characters that stand above one another, of columns of at least two. */
function columnsOf(lines: readonly ReadLine[]): ReadLine[][] {
  const single = lines
    .filter(({ text }) => [...text.trim()].length <= MOST_IN_COLUMN)
    .map((line) => ({ line, ...middleOf(line.quad) }))
    .sort((a, b) => a.y - b.y);
  const columns: (typeof single)[] = [];
  for (const one of single) {
    const column = columns.find((other) => {
      const last = other.at(-1)!;
      const beside = Math.abs(one.x - last.x);
      return (
        beside < SAME_ROW * one.height && one.y - last.y < NEXT_BELOW * Math.max(one.height, last.height)
      );
    });
    if (column) column.push(one);
    else columns.push([one]);
  }
  return columns
    .filter(({ length }) => length > 1)
    .sort((a, b) => b[0]!.x - a[0]!.x)
    .map((column) => column.map(({ line }) => line));
}

const ORDERS: Record<PageOrder, (lines: readonly ReadLine[]) => ReadLine[][]> = {
  rows: rowsOf,
  words: (lines) => rowsOf(lines.map(withBlanks)),
  columns: columnsOf,
};

function rowsOf(lines: readonly ReadLine[]): ReadLine[][] {
  const placed = lines.map((line) => ({ line, ...middleOf(line.quad) })).sort((a, b) => a.y - b.y);
  const rows: (typeof placed)[] = [];
  for (const one of placed) {
    const row = rows.at(-1);
    const last = row?.at(-1);
    if (last && one.y - last.y < SAME_ROW * Math.min(one.height, last.height)) row!.push(one);
    else rows.push([one]);
  }
  return rows.map((row) => row.sort((a, b) => a.x - b.x).map(({ line }) => line));
}

function middleOf(quad: Quad): Point & { height: number } {
  const ys = quad.map(({ y }) => y);
  const mean = (values: number[]) => values.reduce((sum, value) => sum + value, 0) / values.length;
  return { x: mean(quad.map(({ x }) => x)), y: mean(ys), height: Math.max(...ys) - Math.min(...ys) };
}
