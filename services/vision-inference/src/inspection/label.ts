import type { Canvas, Colour } from './overlay.ts';

/**
 * Glyphs of 5 by 7 pixels: five columns, the lowest bit on top. Text is drawn with these since a server may have no
 * fonts at all.
 */
const GLYPHS: Readonly<Record<string, string>> = {
  ...{ ' ': '0000000000', '%': '2313086462', '-': '0808080808', '.': '0060600000', _: '4040404040' },
  ...{ 0: '3e5149453e', 1: '00427f4000', 2: '4261514946', 3: '2141454b31', 4: '1814127f10' },
  ...{ 5: '2745454539', 6: '3c4a494930', 7: '0171090503', 8: '3649494936', 9: '064949291e' },
  ...{ a: '2054545478', b: '7f48444438', c: '3844444420', d: '384444487f', e: '3854545418' },
  ...{ f: '087e090102', g: '0c5252523e', h: '7f08040478', i: '00447d4000', j: '2040443d00' },
  ...{ k: '7f10284400', l: '00417f4000', m: '7c04180478', n: '7c08040478', o: '3844444438' },
  ...{ p: '7c14141408', q: '081414187c', r: '7c08040408', s: '4854545420', t: '043f444020' },
  ...{ u: '3c4040207c', v: '1c2040201c', w: '3c4030403c', x: '4428102844', y: '0c5050503c', z: '4464544c44' },
};

const [COLUMNS, ROWS, ADVANCE, SCALE, MARGIN] = [5, 7, 6, 2, 3];

/** Writes a label above a box, or within it where there is no room above: dark on the box's colour. */
export function drawLabel(canvas: Canvas, at: readonly number[], label: string, colour: Colour): void {
  const [x0, y0] = at as [number, number];
  const wide = label.length * ADVANCE * SCALE + 2 * MARGIN;
  const high = ROWS * SCALE + 2 * MARGIN;
  const left = Math.max(0, Math.min(x0, canvas.width - wide));
  const top = y0 >= high ? y0 - high : y0;
  fill(canvas, left, top, wide, high, colour);
  for (const [i, character] of [...label.toLowerCase()].entries()) {
    const columns = Buffer.from(GLYPHS[character] ?? GLYPHS._!, 'hex');
    for (let column = 0; column < COLUMNS; column++) {
      for (let row = 0; row < ROWS; row++) {
        if (((columns[column]! >> row) & 1) === 0) continue;
        const x = left + MARGIN + (i * ADVANCE + column) * SCALE;
        fill(canvas, x, top + MARGIN + row * SCALE, SCALE, SCALE, [0, 0, 0]);
      }
    }
  }
}

function fill(canvas: Canvas, x: number, y: number, wide: number, high: number, colour: Colour): void {
  for (let row = Math.max(0, y); row < Math.min(canvas.height, y + high); row++) {
    for (let column = Math.max(0, x); column < Math.min(canvas.width, x + wide); column++) {
      canvas.rgb.set(colour, 3 * (row * canvas.width + column));
    }
  }
}
