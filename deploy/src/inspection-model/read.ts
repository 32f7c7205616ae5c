import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type LlavaCheckpoint, openLlava } from '@landfall/graph/checkpoint/vision.ts';
import { CachedDecoder } from '@landfall/graph/serving/cached-decoder.ts';
import { ImageTokens } from '@landfall/graph/vision/image-tokens.ts';
import { loadTokenizer, type Tokenizer } from '@landfall/trainer/engine/data/tokenizer.ts';
import { ANSWER_SCALE, PROMPTS } from './answer.ts';
import type { ReportedDefect } from './figures.ts';
import { MAX_LENGTH } from './sequence.ts';
import { PARTS } from './tokenizer.ts';

const BLOCK = 16;
const BLOCKS = MAX_LENGTH / BLOCK;
/** Where a first defect and a further one begin, where a list begins, and where it or a defect ends, as tokens. */
const BEGINS = ['{"type":"', ',{"type":"'];
const [LIST, END] = ['{"defects":[', ']}'];

/** The model by itself: the likeliest answer about one image at a time, to see in training how far it is. */
export class Reader {
  readonly #tokenizer: Tokenizer;
  readonly #checkpoint: LlavaCheckpoint;
  readonly #tower: ImageTokens;
  readonly #decoder: CachedDecoder;
  readonly #cache: string;
  /** What tokens of answers spell. */
  readonly #parts: ReadonlyMap<number, string>;

  private constructor(
    tokenizer: Tokenizer,
    checkpoint: LlavaCheckpoint,
    tower: ImageTokens,
    decoder: CachedDecoder,
    cache: string,
  ) {
    this.#tokenizer = tokenizer;
    this.#checkpoint = checkpoint;
    this.#tower = tower;
    this.#decoder = decoder;
    this.#cache = cache;
    this.#parts = new Map(PARTS.map((part) => [tokenizer.encode(part)[0]!, part]));
  }

  static async open(folder: string): Promise<Reader> {
    const cache = mkdtempSync(join(tmpdir(), 'landfall-inspection-'));
    const checkpoint = openLlava(folder);
    const tower = await ImageTokens.create(checkpoint, { threads: 1, cacheFolder: cache });
    const decoder = await CachedDecoder.create(checkpoint.language, {
      threads: 1,
      cacheFolder: cache,
      blocks: BLOCKS,
      blockSize: BLOCK,
      adapterSlots: 0,
      images: true,
    });
    return new Reader(await loadTokenizer(folder), checkpoint, tower, decoder, cache);
  }

  /**
   * @param pixels [3, SIDE, SIDE], normalised
   * @param least probability from which on a defect is named rather than the list ended
   * @returns defects, boxes as shares of the image; none for no valid answer
   */
  async answer(pixels: Float32Array, least = 0.5): Promise<ReportedDefect[]> {
    const image = await this.#tower.run(pixels);
    const asked = this.#tokenizer.encode(
      this.#tokenizer.renderChat([{ role: 'user', content: PROMPTS.zh }], true),
    );
    const from = asked.indexOf(this.#checkpoint.config.imageToken);
    const places = new Array<number>(this.#tower.count).fill(this.#checkpoint.config.imageToken);
    let tokens = [...asked.slice(0, from), ...places, ...asked.slice(from + 1)];
    let start = 0;
    let images: { from: number; tokens: Float32Array }[] | undefined = [{ from, tokens: image }];
    let text = '';
    const confidences: number[] = [];
    const [list, end, ...begins] = [LIST, END, ...BEGINS].map((part) => this.#tokenizer.encode(part)[0]!);
    const blockTable = Array.from({ length: BLOCKS }, (_, i) => i);
    while (start + tokens.length < MAX_LENGTH) {
      const row = { tokens, start, blockTable, adapterSlot: 0, images, stepwise: start > 0 };
      const [logits] = await this.#decoder.step([row]);
      const last = tokens.at(-1)!;
      // The same token ends a defect and, behind that, the list.
      const isListOpen = !text.endsWith(']}]}') && !text.endsWith('[]}');
      const begin = last === list ? begins[0] : last === end && isListOpen ? begins[1] : undefined;
      const forced = begin !== undefined && share(logits!, begin, end!) >= least ? begin : undefined;
      const { token, probability } = forced === undefined ? likeliest(logits!) : told(logits!, forced);
      if (this.#tokenizer.endTokens.includes(token)) break;
      if (begins.includes(last)) confidences[confidences.length - 1]! *= probability;
      if (begins.includes(token)) confidences.push(probability);
      text += this.#parts.get(token) ?? '?';
      start += tokens.length;
      [tokens, images] = [[token], undefined];
    }
    return read(text, confidences);
  }

  async release(): Promise<void> {
    await this.#tower.release();
    await this.#decoder.release();
    rmSync(this.#cache, { recursive: true });
  }
}

function likeliest(logits: Float32Array): { token: number; probability: number } {
  let token = 0;
  for (let i = 1; i < logits.length; i++) if (logits[i]! > logits[token]!) token = i;
  return told(logits, token);
}

/** A token with its probability. */
function told(logits: Float32Array, token: number): { token: number; probability: number } {
  const sum = logits.reduce((total, logit) => total + Math.exp(logit - logits[token]!), 0);
  return { token, probability: 1 / sum };
}

/** Probability of one token where another is the only choice beside it. */
const share = (logits: Float32Array, one: number, other: number): number =>
  1 / (1 + Math.exp(logits[other]! - logits[one]!));

function read(text: string, confidences: readonly number[]): ReportedDefect[] {
  try {
    const { defects } = JSON.parse(text) as { defects: { type: string; severity: string; box: number[] }[] };
    return defects.map(({ type, severity, box: [x0, y0, x1, y1] }, i) => ({
      type,
      severity,
      box: [x0! / ANSWER_SCALE, y0! / ANSWER_SCALE, x1! / ANSWER_SCALE, y1! / ANSWER_SCALE],
      confidence: confidences[i]!,
    }));
  } catch {
    return [];
  }
}
