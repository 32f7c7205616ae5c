import type { Checkpoint } from '../checkpoint/checkpoint.ts';
import type { Adapter, PrefixAdapter } from '../checkpoint/peft.ts';
import type { ModelConfig } from '../models/config.ts';
import { ropeTables } from '../models/rope.ts';
import { giveBack } from '../onnx/session.ts';
import { AdapterBank } from './adapter-bank.ts';
import { checkRows } from './check-rows.ts';
import { GraphSessions } from './graph-sessions.ts';
import { imageAttention, type Looks, lookingLayers, queriesOf } from './image-attention.ts';
import { KeyValuePool } from './key-value-pool.ts';
import { inCompany, type LaneBatch, laneBatches, numbered } from './lanes.ts';
import { linearGroups } from './linear-groups.ts';
import type { ServingPrecision } from './packed-weights.ts';
import { RunningContexts } from './running-contexts.ts';
import { type FeedSource, ofSingles, stepFeeds } from './step-feeds.ts';

export interface CachedDecoderOptions {
  threads: number;
  /** Where weights that are laid out for serving are kept from one start to the next. */
  cacheFolder: string;
  /** Blocks of the key/value pool. */
  blocks: number;
  /** Tokens a block. */
  blockSize: number;
  /** The first blocks, whose memory is there from the start (0). */
  readyBlocks?: number;
  /**
   * What a second copy of the keys and values may take of sequences that are being gone on with: all that the pool has
   * where nothing is said. Those that find no room there are read from the pool, which takes twice as long.
   */
  contextBytes?: number;
  /** Adapters beside the base. */
  adapterSlots: number;
  /**
   * What weights may take that are packed once more (0), for graphs that do less: with int4 first for prompts, which are
   * computed with int8 then; for single tokens of the base, whose steps take up to a tenth less; for the base's prompts;
   * and for both where adapters change queries, keys and values alone.
   */
  copyBytes?: number;
  /** Whether images may stand among the tokens (false). */
  images?: boolean;
  /** How weights are kept: float32 where nothing is said. */
  precision?: ServingPrecision;
  /** Inputs that share a scale with int4 (32). */
  int4Block?: number;
}

/** New tokens of one sequence. */
export interface DecodeRow {
  tokens: readonly number[];
  /** Tokens that are in the cache already, the adapter's virtual tokens included. */
  start: number;
  /** Its blocks in order, with room for start + tokens.length. */
  blockTable: readonly number[];
  /** 0 for the base. */
  adapterSlot: number;
  /** What is to follow the last tokens, one each: the row is scored by them. */
  targets?: readonly number[] | undefined;
  /**
   * Computes the tokens as if they came one by one, to the bit: those that a sequence has chosen itself. Without it one
   * token is a step, more are a chunk of a prompt.
   */
  stepwise?: boolean | undefined;
  /** Tokens whose logits are asked for: the last (default), each, or none. */
  logits?: 'last' | 'each' | 'none' | undefined;
  /**
   * What stands in the place of some of `tokens`, from the index `from` on: [n, hiddenSize], n tokens. What a prefix of
   * equal tokens holds is not equal then.
   */
  images?: readonly { from: number; tokens: Float32Array }[] | undefined;
  /** What some of `tokens` look at is wanted in the place of logits, where the decoder takes images. */
  looks?: Looks | undefined;
  /** Gives the likeliest token and its logit in the place of each row of logits, which then need not be copied. */
  top?: boolean | undefined;
}

/** Positions whose logits are computed at once where a row is scored: a vocabulary of each is a lot of memory. */
const SCORED_AT_ONCE = 128;
/** How much faster weights are read one after the other than keys and values are gathered. */
const GATHERING_COST = 2;

/**
 * A decoder with keys and values in a pool of blocks that the graph reads without a copy and never writes: it hands out
 * the new ones, which are put into the pool here. Any mixture of adapters and the base runs in one batch.
 *
 * Float32 and int8: a token's result is the same to the bit whatever shares its step, however its prompt is cut into
 * chunks, and whether what stands before it was computed or found.
 */
export class CachedDecoder {
  readonly config: ModelConfig;
  readonly #options: CachedDecoderOptions;
  readonly #sessions: GraphSessions;
  readonly #feeds: FeedSource;
  readonly #pool: KeyValuePool;
  /** Of the single tokens of a step: those that differ much in length are not computed in one run. */
  readonly #contexts: readonly RunningContexts[];
  readonly #bank: AdapterBank;
  readonly #positions: number;
  /** By slot. */
  readonly #prefixes: (PrefixAdapter | undefined)[];
  /** Logits that the last step has handed out. */
  #handedOut: Float32Array[] = [];

  private constructor(config: ModelConfig, options: CachedDecoderOptions, sessions: GraphSessions) {
    this.config = config;
    this.#options = options;
    this.#sessions = sessions;
    this.#pool = new KeyValuePool(config, options.blocks, options.blockSize);
    this.#pool.commit(options.readyBlocks ?? 0);
    this.#contexts = [new RunningContexts(this.#pool), new RunningContexts(this.#pool)];
    this.#bank = new AdapterBank(config, linearGroups(config));
    // A configuration may claim more positions than the pool could ever hold.
    this.#positions = Math.min(config.maxPositions, options.blocks * options.blockSize);
    this.#prefixes = new Array(options.adapterSlots + 1).fill(undefined);
    this.#feeds = {
      config,
      pool: this.#pool,
      bank: this.#bank,
      rope: ropeTables(config, this.#positions),
      images: options.images ?? false,
    };
  }

  static async create(checkpoint: Checkpoint, options: CachedDecoderOptions): Promise<CachedDecoder> {
    const sessions = await GraphSessions.create(checkpoint, {
      copyBytes: 0,
      images: false,
      precision: 'float32',
      int4Block: 32,
      ...options,
      adapters: options.adapterSlots > 0,
    });
    return new CachedDecoder(checkpoint.config, options, sessions);
  }

  /** Puts an adapter into a slot from 1; not while a step runs. */
  setAdapter(slot: number, adapter: Adapter | undefined): void {
    if (slot < 1 || slot >= this.#prefixes.length)
      throw new RangeError(`adapter slot ${slot} of ${this.#prefixes.length - 1}`);
    this.#prefixes[slot] = adapter?.kind === 'prefix' ? adapter : undefined;
    this.#bank.set(slot, adapter?.kind === 'lora' ? adapter : undefined);
  }

  /** Virtual tokens of a slot's adapter: what stands in the cache before a sequence's own first token. */
  prefixTokens(slot: number): number {
    return this.#prefixes[slot]?.numVirtualTokens ?? 0;
  }

  /**
   * Computes the new tokens of each row, keeps their keys and values, and returns the logits that it asks for,
   * [vocabSize] or [tokens, vocabSize], or [tokens, 2] with `top`; of a row with targets their natural log probabilities
   * [targets.length]; of a row that looks its attention [queries, positions].
   * @throws RangeError, before anything is computed, for a row that can't be: no tokens, tokens outside the vocabulary,
   *   positions beyond the context, blocks or slots that do not exist
   */
  async step(rows: readonly DecodeRow[]): Promise<Float32Array[]> {
    const { vocabSize } = this.config;
    const { blocks, blockSize } = this.#options;
    checkRows(rows, {
      vocabSize,
      positions: this.#positions,
      blocks,
      blockSize,
      prefixes: this.#prefixes.map((_, slot) => this.prefixTokens(slot)),
    });
    if (!this.#options.images && rows.some(({ images, looks }) => images?.length || looks))
      throw new RangeError('this decoder was made without images');
    this.#handedOut = [];
    for (const row of rows) this.#begin(row);
    const results = new Map<DecodeRow, Float32Array>();
    const plain = rows.filter(({ targets }) => !targets);
    const tooUneven = (wasted: number) =>
      wasted * this.#blockBytes * GATHERING_COST > this.#sessions.weightBytes;
    const batches = plain.length > 0 ? laneBatches(plain, tooUneven, blockSize) : [];
    const singles = batches.filter(ofSingles);
    if (singles.length > 0) for (const contexts of this.#contexts.slice(singles.length)) contexts.release();
    const contextsOf = new Map(singles.map((batch, i) => [batch, this.#contexts[i]]));
    for (const batch of batches) await this.#run(batch, contextsOf.get(batch), results);
    for (const row of rows) if (row.targets) results.set(row, await this.#score(row, row.targets));
    return rows.map((row) => results.get(row)!);
  }

  /** Takes back the logits that the last step has handed out, which must not be read any more. */
  takeBack(): void {
    for (const logits of this.#handedOut.splice(0)) giveBack(logits);
  }

  /** Copies the keys and values of positions from..end out of a sequence's blocks. */
  save(blockTable: readonly number[], from: number, end: number): Float32Array {
    this.#flush(blockTable);
    return this.#pool.save(blockTable, from, end);
  }

  /** Puts what `save` gave back into a sequence's blocks from a position on. */
  restore(blockTable: readonly number[], from: number, saved: Float32Array): void {
    const tokens = saved.length / (this.#pool.sides * this.#pool.width);
    this.#clear(blockTable, from, from + tokens);
    this.#pool.restore(blockTable, from, saved);
  }

  /** Gives native memory back; not while a step runs. */
  async release(): Promise<void> {
    await this.#sessions.release();
  }

  get #blockBytes(): number {
    const { sides, width, blockSize } = this.#pool;
    return sides * width * blockSize * Float32Array.BYTES_PER_ELEMENT;
  }

  /** @param contexts where those of the lanes are to lie, if they are single tokens */
  async #run(
    given: LaneBatch,
    contexts: RunningContexts | undefined,
    results: Map<DecodeRow, Float32Array>,
  ): Promise<void> {
    const { vocabSize } = this.config;
    const placed = contexts?.inPlace(given.lanes, ({ row }) => row);
    const batch = placed ? numbered(placed, given.length) : given;
    const wanted = new Map<DecodeRow, number[]>();
    for (const { row, first, tokens, at } of batch.lanes) {
      const own = wanted.get(row) ?? [];
      for (let t = 0; t < tokens.length; t++) {
        const last = first + t === row.tokens.length - 1;
        if (row.logits === 'each' || (last && row.logits !== 'none')) own.push(at + t);
      }
      wanted.set(row, own);
    }
    const asked = [...wanted.values()].flat();
    // Not every operator takes no rows at all; one row of the head is little beside a chunk.
    const none = asked.length === 0;
    const whole = [...wanted.keys()].some((row) => !row.top && row.logits !== 'none');
    const looking = [...wanted.keys()].some(({ looks }) => looks);
    const { logits, top, queries } = await this.#compute(batch, none ? [0] : asked, {
      whole,
      looking,
      contexts,
    });
    if (logits) this.#handedOut.push(logits);
    let from = 0;
    for (const [row, { length }] of wanted) {
      if (row.looks) {
        const { at } = batch.lanes.find((lane) => lane.row === row)!;
        this.#flush(row.blockTable);
        results.set(row, imageAttention(this.config, this.#pool, row, row.looks, { queries, at }));
        continue;
      }
      const result = row.top
        ? top.subarray(2 * from, 2 * (from + length))
        : logits?.subarray(from * vocabSize, (from + length) * vocabSize);
      results.set(row, result ?? new Float32Array(0));
      from += length;
    }
  }

  /**
   * Runs the graph and keeps the new keys and values; logits [logitRows, vocabSize] where they are wanted whole, the
   * likeliest token of each and its logit [logitRows, 2], and the queries of the layers that are looked at [N, heads *
   * headDim] where a row looks.
   */
  async #compute(
    batch: LaneBatch,
    logitRows: readonly number[],
    {
      whole,
      looking,
      contexts,
    }: { whole: boolean; looking: boolean; contexts?: RunningContexts | undefined },
  ): Promise<{ logits: Float32Array | undefined; top: Float32Array; queries: Float32Array[] }> {
    const computed = inCompany(batch);
    // What is not asked for is not copied out of the runtime.
    const looked = looking ? lookingLayers(this.config).map(queriesOf) : [];
    const wanted = ['new_key_values', 'top_tokens', 'top_logits', ...(whole ? ['logits'] : []), ...looked];
    for (const other of this.#contexts)
      if (contexts && other !== contexts) for (const { row } of batch.lanes) other.flush(row.blockTable);
    const held = contexts?.hold(
      computed.lanes.map(({ row }) => row),
      this.#bytesFor(contexts),
    );
    if (!held) for (const { row } of batch.lanes) this.#flush(row.blockTable);
    const groups = this.#bank.groupsOf(batch.lanes.map(({ row }) => row.adapterSlot));
    const { kind, session } = this.#sessions.for(batch, held !== undefined, groups);
    const feeds = stepFeeds(this.#feeds, computed, logitRows, kind, held);
    const outputs = await session.run(feeds, wanted);
    const fresh = outputs.new_key_values!.data as Float32Array;
    const { width } = this.#pool;
    const stride = computed.lanes.length * batch.length * width;
    if (held)
      for (const [i, { at }] of computed.lanes.entries()) contexts!.append(i, fresh, at * width, stride);
    else
      for (const { row, first, tokens, at } of batch.lanes)
        for (let t = 0; t < tokens.length; t++)
          this.#pool.write(row.blockTable, row.start + first + t, fresh, (at + t) * width, stride);
    giveBack(fresh);
    const tokens = outputs.top_tokens!.data as BigInt64Array;
    const values = outputs.top_logits!.data as Float32Array;
    const top = Float32Array.from({ length: 2 * tokens.length }, (_, i) =>
      i % 2 === 0 ? Number(tokens[i >> 1]) : values[i >> 1]!,
    );
    return {
      logits: outputs.logits?.data as Float32Array | undefined,
      top,
      queries: looked.map((name) => outputs[name]!.data as Float32Array),
    };
  }

  /** The pool has all that there is of a sequence. */
  #flush(blockTable: readonly number[]): void {
    for (const contexts of this.#contexts) contexts.flush(blockTable);
  }

  /** What the others leave of the memory for contexts. */
  #bytesFor(contexts: RunningContexts): number {
    const others = this.#contexts.filter((other) => other !== contexts);
    const all = this.#options.contextBytes ?? this.#pool.data.byteLength;
    return others.reduce((left, { byteLength }) => left - byteLength, all);
  }

  async #score(row: DecodeRow, targets: readonly number[]): Promise<Float32Array> {
    const { vocabSize } = this.config;
    const { tokens, start } = row;
    const scored = new Float32Array(targets.length);
    const context = tokens.length - targets.length;
    for (let from = 0, end = 0; from < tokens.length; from = end) {
      // What only leads up to the targets goes through with the first of them.
      end = Math.min(tokens.length, Math.max(from, context) + SCORED_AT_ONCE);
      const images = row.images?.map((image) => ({ ...image, from: image.from - from }));
      const part = { ...row, tokens: tokens.slice(from, end), start: start + from, stepwise: false, images };
      const [batch] = laneBatches([part], () => false, this.#options.blockSize);
      const first = Math.max(from, context);
      const asked = Array.from({ length: end - first }, (_, i) => first - from + i);
      const logits = (await this.#compute(batch!, asked, { whole: true, looking: false })).logits!;
      for (let i = first; i < end; i++) {
        const at = (i - first) * vocabSize;
        const target = targets[i - context]!;
        scored[i - context] = logProbability(logits.subarray(at, at + vocabSize), target);
      }
      giveBack(logits);
    }
    return scored;
  }

  /** Empties the blocks that a row is about to begin; a sequence that begins finds its adapter's virtual tokens there. */
  #begin({ tokens, start, blockTable, adapterSlot }: DecodeRow): void {
    const prefix = this.#prefixes[adapterSlot];
    const begins = prefix !== undefined && start === prefix.numVirtualTokens;
    this.#clear(blockTable, begins ? 0 : start, start + tokens.length);
    if (begins) this.#pool.restore(blockTable, 0, prefix.embeddings);
  }

  /** The graph reads whole blocks, and masks what is not a number too. */
  #clear(blockTable: readonly number[], from: number, end: number): void {
    const { blockSize } = this.#options;
    for (let block = Math.ceil(from / blockSize); block * blockSize < end; block++)
      this.#pool.clear(blockTable[block]!);
  }
}

/** log softmax(logits)[target] */
function logProbability(logits: Float32Array, target: number): number {
  let most = Number.NEGATIVE_INFINITY;
  for (const logit of logits) if (logit > most) most = logit;
  let sum = 0;
  for (const logit of logits) sum += Math.exp(logit - most);
  return logits[target]! - most - Math.log(sum);
}
