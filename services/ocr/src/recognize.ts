import { type InferenceSession, Tensor } from 'onnxruntime-node';
import type { Levels } from './pixels.ts';
import type { Quad, ReadLine } from './reading.ts';

/** What the model sees of a line, in pixels: its height, least and largest width. */
const HEIGHT = 48;
const NARROWEST = 320;
const WIDEST = 3200;
/** Below it a line is read upside down as well, and the better reading counts. */
const SURE = 0.85;
/** Probability of a blank, between two characters, from which one is taken to stand there. */
const BLANKNESS = 0.002;
/** From this height to length on, a line stands upright on its side. */
const STANDS = 1.5;

/** Reads a line of Chinese or Latin text: PP-OCRv4's SVTR, decoded greedily (CTC, Graves et al. 2006). */
export class LineRecognizer {
  readonly #session: InferenceSession;
  readonly #characters: readonly string[];

  /** @param characters by class, without the blank, which is class 0 */
  constructor(session: InferenceSession, characters: readonly string[]) {
    this.#session = session;
    this.#characters = characters;
  }

  /** @returns undefined where nothing is read */
  async read(levels: Levels, quad: Quad): Promise<ReadLine | undefined> {
    const [length, height] = [distance(quad, 0, 1), distance(quad, 0, 3)];
    const upright = height / length >= STANDS ? turned(quad, 1) : quad;
    const line = await this.#read(levels, upright);
    if (line && line.confidence >= SURE) return line;
    const other = await this.#read(levels, turned(upright, 2));
    return other && other.confidence > (line?.confidence ?? 0) ? other : line;
  }

  async #read(levels: Levels, quad: Quad): Promise<ReadLine | undefined> {
    const proportion = distance(quad, 0, 1) / Math.max(1, distance(quad, 0, 3));
    const width = Math.min(WIDEST, Math.max(8, Math.ceil(HEIGHT * proportion)));
    const padded = Math.max(NARROWEST, width);
    const input = inserted(await levels.straight(quad, width, HEIGHT), width, padded);
    const [name] = this.#session.inputNames;
    const outputs = await this.#session.run({
      [name!]: new Tensor('float32', input, [1, 3, HEIGHT, padded]),
    });
    const output = outputs[this.#session.outputNames[0]!]!;
    const [, steps, classes] = output.dims as [number, number, number];
    const found = decoded(output.data as Float32Array, steps, classes);
    if (found.length === 0) return undefined;
    // What is written on the padding is made up.
    const places = found.map(({ step }) => Math.min(1, ((step + 0.5) * padded) / steps / width));
    let text = '';
    const edges = [0];
    const blanks: number[] = [];
    for (const [i, { label, behindBlank }] of found.entries()) {
      if (behindBlank) blanks.push(text.length);
      const character = this.#characters[label - 1] ?? '';
      const edge = i + 1 < found.length ? (places[i]! + places[i + 1]!) / 2 : 1;
      for (let unit = 0; unit < character.length; unit++) edges.push(edge);
      text += character;
    }
    const confidence = found.reduce((sum, one) => sum + one.probability, 0) / found.length;
    return { text, edges, blanks, quad, confidence };
  }
}

/** A label that was read, and the step that it lies at. */
interface Label {
  label: number;
  step: number;
  probability: number;
  /** Whether a blank stands before it that is not the likeliest label of any step. */
  behindBlank: boolean;
}

/**
 * The likeliest label of each step, repeats left out. The model was taught with few blanks: it gives one half a percent
 * between words, and a hundredth of it within them.
 */
function decoded(probabilities: Float32Array, steps: number, classes: number): Label[] {
  const found: Label[] = [];
  const blank = classes - 1;
  let [last, first, blankness] = [0, 0, 0];
  for (let step = 0; step < steps; step++) {
    let label = 0;
    const from = step * classes;
    for (let i = 1; i < classes; i++) if (probabilities[from + i]! > probabilities[from + label]!) label = i;
    const probability = probabilities[from + label]!;
    const before = found.at(-1);
    if (label !== 0 && label === last) {
      before!.step = (first + step) / 2;
      before!.probability = Math.max(before!.probability, probability);
    } else if (label !== 0) {
      first = step;
      const parted = label === blank || before === undefined || before.label === blank;
      found.push({ label, step, probability, behindBlank: !parted && blankness > BLANKNESS });
    }
    blankness = label === 0 ? Math.max(blankness, probabilities[from + blank]!) : 0;
    last = label;
  }
  return found;
}

function inserted(pixels: Float32Array, width: number, padded: number): Float32Array {
  if (width === padded) return pixels;
  const out = new Float32Array(3 * HEIGHT * padded);
  for (let row = 0; row < 3 * HEIGHT; row++)
    out.set(pixels.subarray(row * width, (row + 1) * width), row * padded);
  return out;
}

const distance = (quad: Quad, a: number, b: number) =>
  Math.hypot(quad[a]!.x - quad[b]!.x, quad[a]!.y - quad[b]!.y);

/** The same corners, beginning at another. */
const turned = (quad: Quad, corners: number): Quad =>
  quad.map((_, i) => quad[(i + corners) % 4]!) as unknown as Quad;
