/**
 * Makes the demo's base model from nothing: corpus, tokenizer, weights.
 *
 *   node deploy/src/base-model/train.ts [--out DIR] [--minutes 25] [--seed 1] [--threads 2]
 *
 * Deterministic but for the time limit: the learning rate follows the share of the minutes that have passed.
 */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { openCheckpoint } from '@landfall/graph/checkpoint/checkpoint.ts';
import { initialWeights, writeModel } from '@landfall/graph/checkpoint/write-model.ts';
import { AdamW, clipScale, globalNorm } from '@landfall/graph/training/optimizer.ts';
import type { Sequence } from '@landfall/graph/training/packing.ts';
import { TrainingGraph } from '@landfall/graph/training/trainer.ts';
import { loadTokenizer, type Tokenizer } from '@landfall/trainer/engine/data/tokenizer.ts';
import { repositoryRoot } from '../config.ts';
import { makeCorpus, type Text } from './corpus.ts';
import { Random } from './random.ts';
import { SPECIAL, trainBpe, writeTokenizer } from './tokenizer.ts';

const VOCABULARY = 4096;
const TEXTS = 40_000;
const TOKENS_PER_STEP = 3072;
const PEAK_RATE = 2e-3;
const CONFIG = {
  architectures: ['LlamaForCausalLM'],
  model_type: 'llama',
  vocab_size: VOCABULARY,
  hidden_size: 256,
  intermediate_size: 704,
  num_hidden_layers: 5,
  num_attention_heads: 4,
  num_key_value_heads: 2,
  head_dim: 64,
  hidden_act: 'silu',
  max_position_embeddings: 512,
  rms_norm_eps: 1e-5,
  rope_parameters: { rope_type: 'default', rope_theta: 10_000 },
  tie_word_embeddings: true,
  attention_bias: false,
  mlp_bias: false,
  initializer_range: 0.02,
  bos_token_id: SPECIAL.indexOf('<|bos|>'),
  eos_token_id: SPECIAL.indexOf('<|end|>'),
  pad_token_id: SPECIAL.indexOf('<|pad|>'),
};

const plain = (text: Text) =>
  text.kind === 'prose'
    ? text.text
    : text.turns.map(({ question, answer }) => `${question}\n${answer}`).join('\n');

/** Chats carry loss on their answers and a tenth of the questions' weight is left to prose, which carries it everywhere. */
function encode(text: Text, tokenizer: Tokenizer): Sequence {
  const [bos, end] = [CONFIG.bos_token_id, CONFIG.eos_token_id];
  if (text.kind === 'prose') {
    const ids = [bos, ...tokenizer.encode(text.text), end];
    return { ids, labels: ids };
  }
  const ids: number[] = [bos];
  const labels: number[] = [-100];
  for (const { question, answer } of text.turns) {
    const asked = [
      SPECIAL.indexOf('<|user|>'),
      ...tokenizer.encode(question),
      end,
      SPECIAL.indexOf('<|assistant|>'),
    ];
    const answered = [...tokenizer.encode(answer), end];
    ids.push(...asked, ...answered);
    labels.push(...asked.map(() => -100), ...answered);
  }
  return { ids, labels };
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      out: { type: 'string', default: join(repositoryRoot, 'deploy/demo/base-model') },
      minutes: { type: 'string', default: '25' },
      seed: { type: 'string', default: '1' },
      threads: { type: 'string', default: '2' },
    },
  });
  const seed = Number(values.seed);
  const limitMs = Number(values.minutes) * 60_000;
  const folder = values.out;
  mkdirSync(folder, { recursive: true });
  const corpus = makeCorpus(seed, TEXTS);
  process.stderr.write(`corpus: ${corpus.length} texts, e.g. ${JSON.stringify(corpus.slice(0, 3))}\n`);
  writeTokenizer(folder, trainBpe(corpus.map(plain), VOCABULARY));
  const tokenizer = await loadTokenizer(folder);
  const sequences = corpus.map((text) => encode(text, tokenizer));
  const heldOut = sequences.splice(0, 64);
  const tokens = sequences.reduce((sum, s) => sum + s.ids.length, 0);
  process.stderr.write(`tokenizer: ${VOCABULARY} tokens; corpus: ${tokens} tokens\n`);

  const random = new Random(seed);
  const weights = initialWeights(CONFIG, () => random.next());
  const aside = mkdtempSync(join(tmpdir(), 'landfall-base-'));
  writeModel(aside, CONFIG, weights);
  const graph = await TrainingGraph.create(
    openCheckpoint(aside),
    { method: 'full' },
    { threads: Number(values.threads), maxLength: 512 },
  );
  rmSync(aside, { recursive: true });
  const adam = new AdamW(weights, {
    beta1: 0.9,
    beta2: 0.95,
    epsilon: 1e-8,
    weightDecay: 0.05,
    noDecay: (name) => name.endsWith('norm.weight'),
  });
  const save = () => {
    writeModel(folder, CONFIG, weights, 'F16');
    const generation = {
      bos_token_id: CONFIG.bos_token_id,
      eos_token_id: CONFIG.eos_token_id,
      pad_token_id: CONFIG.pad_token_id,
    };
    writeFileSync(join(folder, 'generation_config.json'), `${JSON.stringify(generation, null, 2)}\n`);
  };

  const startMs = performance.now();
  let [step, seen, smooth, savedMs] = [0, 0, 0, startMs];
  let queue: Sequence[] = [];
  for (;;) {
    const passed = (performance.now() - startMs) / limitMs;
    if (passed >= 1) break;
    const batch: Sequence[] = [];
    for (let count = 0; count < TOKENS_PER_STEP; count += batch.at(-1)!.ids.length) {
      if (queue.length === 0) queue = random.shuffle([...sequences]);
      batch.push(queue.pop()!);
    }
    const { loss, gradients } = await graph.step(batch, weights);
    const rate = PEAK_RATE * Math.min(1, (step + 1) / 100) * (0.5 + 0.5 * Math.cos(Math.PI * passed)) + 1e-5;
    adam.step(weights, gradients, rate, clipScale(globalNorm(gradients), 1));
    step += 1;
    seen += batch.reduce((sum, s) => sum + s.ids.length, 0);
    smooth = step === 1 ? loss : 0.95 * smooth + 0.05 * loss;
    const seconds = (performance.now() - startMs) / 1000;
    if (step % 20 === 0) {
      process.stderr.write(
        `step ${step}  loss ${smooth.toFixed(3)}  rate ${rate.toExponential(2)}  ${(seen / seconds).toFixed(0)} tokens/s  ` +
          `${(seen / tokens).toFixed(2)} epochs  ${((limitMs / 1000 - seconds) / 60).toFixed(1)} min left\n`,
      );
    }
    if (performance.now() - savedMs > 180_000) {
      save();
      savedMs = performance.now();
    }
  }
  save();
  process.stdout.write(
    `${JSON.stringify({ steps: step, tokens: seen, loss: smooth, heldOutLoss: await graph.loss(heldOut, weights) })}\n`,
  );
  await graph.release();
}

await main();
