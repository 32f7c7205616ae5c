/**
 * Writes samples of surfaces into a file that training reads from, and goes on where it was stopped.
 *
 *   node deploy/src/inspection-model/samples.ts --out FILE [--count 20500] [--seed 1000000]
 */
import { appendFileSync, closeSync, existsSync, openSync, readSync, statSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { SEVERITIES } from '@landfall/surfaces/severity.ts';
import { DEFECT_TYPES } from '@landfall/surfaces/surface.ts';
import { CELLS, type Sample, SIDE, sampleOf, type Target } from './sample.ts';

const PIXELS = SIDE * SIDE * 3;
/** Defects wanted of one sample after another: more than there are in use, since each teaches, and three at once are hardest. */
const COUNTS = [1, 3, 2, 0, 3, 1, 3, 2, 0, 2];
/** Defects of a surface at most; each takes type, severity and four coordinates. */
const MOST = 3;
const TARGETS = 1 + MOST * 6;
const BYTES = PIXELS + CELLS * CELLS + TARGETS;

function encode({ pixels, cells, targets }: Sample): Uint8Array {
  const out = new Uint8Array(BYTES);
  out.set(pixels);
  out.set(cells, PIXELS);
  out[PIXELS + cells.length] = targets.length;
  for (const [i, { type, severity, box }] of targets.entries())
    out.set(
      [DEFECT_TYPES.indexOf(type), SEVERITIES.indexOf(severity), ...box],
      PIXELS + cells.length + 1 + i * 6,
    );
  return out;
}

/** Samples at the beginning of a file that are measured on and not learnt from. */
export const HELD_OUT = 256;

/** Samples in a file, one read at a time. */
export class SampleFile {
  readonly #descriptor: number;
  readonly #path: string;

  constructor(path: string) {
    this.#path = path;
    this.#descriptor = openSync(path, 'r');
  }

  /** Grows while samples are written. */
  get count(): number {
    return Math.floor(statSync(this.#path).size / BYTES);
  }

  read(index: number): Sample {
    const bytes = new Uint8Array(BYTES);
    readSync(this.#descriptor, bytes, 0, BYTES, index * BYTES);
    const cells = bytes.subarray(PIXELS, PIXELS + CELLS * CELLS);
    const rest = bytes.subarray(PIXELS + cells.length);
    const targets = Array.from({ length: rest[0]! }, (_, i): Target => {
      const [type, severity, ...box] = rest.subarray(1 + i * 6, 7 + i * 6);
      return { type: DEFECT_TYPES[type!]!, severity: SEVERITIES[severity!]!, box: box as Target['box'] };
    });
    return { pixels: bytes.subarray(0, PIXELS), targets, cells };
  }

  close(): void {
    closeSync(this.#descriptor);
  }
}

function main(): void {
  const { values } = parseArgs({
    options: {
      out: { type: 'string' },
      count: { type: 'string', default: '20500' },
      seed: { type: 'string', default: '1000000' },
    },
  });
  if (!values.out) throw new Error('--out FILE is missing');
  const count = Number(values.count);
  const first = existsSync(values.out) ? Math.floor(statSync(values.out).size / BYTES) : 0;
  const startMs = performance.now();
  const chunk: Uint8Array[] = [];
  for (let i = first; i < count; i++) {
    chunk.push(encode(sampleOf({ seed: Number(values.seed) + i, count: COUNTS[i % COUNTS.length]! })));
    if (chunk.length < 100 && i + 1 < count) continue;
    appendFileSync(values.out, Buffer.concat(chunk.splice(0)));
    const rate = (i + 1 - first) / ((performance.now() - startMs) / 1000);
    process.stderr.write(
      `${i + 1} of ${count} samples, ${rate.toFixed(0)} a second, ${((count - i - 1) / rate).toFixed(0)} s left\n`,
    );
  }
}

if (import.meta.main) main();
