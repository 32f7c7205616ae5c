import { create } from '@bufbuild/protobuf';
import { status } from '@grpc/grpc-js';
import { failedPrecondition, LandfallError } from '@landfall/common/errors/errors.ts';
import type { Identity } from '@landfall/common/identity/identity.ts';
import {
  DatasetReferenceSchema,
  Kind,
  LineageSchema,
  type Version,
} from '@landfall/proto/landfall/registry/v1/model_pb.js';
import type { Question } from '../clients/replicas.ts';
import type { TrainerContext } from '../context.ts';
import { hasChatTemplate } from '../domain/base-model.ts';
import { readRows } from '../domain/training-data.ts';
import { type Example, lineOf } from '../engine/data/example.ts';
import { noDeployment } from '../errors.ts';

const CONCURRENCY = 4;
const MAX_TOKENS = 128;
/** A paraphrase is neither a fragment nor an answer: its length next to the question's. */
const SHORTEST = 0.4;
const LONGEST = 3;
/** Refusals of one question that leave the others to be asked. */
const SKIPPED = new Set([status.INVALID_ARGUMENT, status.FAILED_PRECONDITION, status.OUT_OF_RANGE]);

/** What is widened, and by whom. */
export interface Widening {
  /** Names the new version: the same one gives the same version again. */
  key: string;
  /** Training set. */
  dataset: string;
  /** Served model that paraphrases. */
  model: string;
  /** Validation set, whose questions must not come into training. */
  validation: string;
}

/**
 * A new version of a training set with paraphrased questions beside its own, answers unchanged.
 *
 * @returns `models:/name/version`
 * @throws LandfallError FAILED_PRECONDITION when the model is not served, or gives nothing that can be used
 */
export async function widenDataset(
  { registry, replicas }: TrainerContext,
  { key, dataset, model, validation }: Widening,
  identity: Identity,
  signal: AbortSignal,
): Promise<string> {
  const options = { identity, signal };
  const source = await registry.ready(dataset, Kind.DATASET, 'train_dataset', options);
  const paraphraser = await registry.version(model, 'options.paraphrase_model', options);
  const lineage = create(LineageSchema, { datasets: [reference(source, 'source')] });
  const description = `${source.ref} and its questions paraphrased by ${paraphraser.ref}`;
  const draft = await registry.draft(source.name, `paraphrase-${key}`, description, lineage, options);
  const known = await registry.version(draft.ref, 'train_dataset', options);
  // A repeat finds what was committed before it was cut off.
  if (known.digest !== '') return known.ref;

  const { examples } = await readRows(registry, source, true, options);
  const judged = await registry.ready(validation, Kind.DATASET, 'evaluation.dataset', options);
  const kept = new Set((await readRows(registry, judged, false, options)).examples.map(plain));
  for (const example of examples) kept.add(plain(example));
  const served = await open();
  const set = replicas.of(served.base, { identity });
  // What asks about an image would lose the place where it stands.
  const found = await paraphraseAll(
    examples.filter(({ images }) => !images),
    (question) => set.answer(served.adapter, served.ask(question), MAX_TOKENS, signal),
    signal,
  );
  const added = found.flatMap(({ example, reply }) => {
    const question = readParaphrase(example.question, reply);
    if (question === undefined || kept.has(normal(question))) return [];
    kept.add(normal(question));
    return [withQuestion(example, question)];
  });
  if (added.length === 0) {
    throw failedPrecondition(`${paraphraser.ref} gave no paraphrase of ${source.ref} that could be used`, {
      reason: 'NO_PARAPHRASES',
    });
  }
  const content = Buffer.from([...examples, ...added].map(lineOf).join(''));
  await registry.upload(draft, { path: 'data.jsonl', content }, options);
  const shown = new Map(examples.flatMap(({ images = [] }) => images.map(({ path, file }) => [path, file])));
  for (const [path, file] of shown) await registry.upload(draft, { path, file }, options);
  const metrics = { rows: examples.length + added.length, paraphrases: added.length };
  return (await registry.commit(draft, `paraphrase-commit-${key}`, metrics, lineage, options)).ref;

  async function open() {
    const adapter = paraphraser.kind === Kind.ADAPTER;
    const baseRef = adapter ? paraphraser.lineage!.base : paraphraser.ref;
    if (!(await replicas.serves(baseRef, options))) throw noDeployment(baseRef);
    const base = await registry.ready(baseRef, Kind.BASE, 'options.paraphrase_model', options);
    const chat = await hasChatTemplate(registry, base, options);
    const ask = (question: string): Question => {
      const content = instruction(question);
      return chat ? { messages: [{ role: 'user', content }] } : { prompt: content };
    };
    return { base: baseRef, adapter: adapter ? paraphraser.ref : '', ask };
  }
}

/** Asks for one paraphrase, in the question's language. */
export function instruction(question: string): string {
  return /\p{Script=Han}/u.test(question)
    ? `请把下面的问题换一种说法,意思不变。只输出改写后的问题。\n\n问题:${question}\n改写:`
    : `Rephrase the question below without changing its meaning. Reply with the new question only.\n\nQuestion: ${question}\nRephrased:`;
}

/** The paraphrase in a model's reply; undefined where there is none. */
export function readParaphrase(question: string, reply: string): string | undefined {
  const line = reply
    .split('\n')
    .map((text) => text.trim())
    .find((text) => text !== '');
  const text = line
    ?.replace(/^(改写(后的问题)?|问题|Rephrased|Question)\s*[::]\s*/iu, '')
    .replace(/^["'“‘「『]+|["'”’」』]+$/gu, '')
    .trim();
  if (!text || text.includes('\ufffd') || normal(text) === normal(question)) return undefined;
  const ratio = [...text].length / [...question].length;
  return ratio >= SHORTEST && ratio <= LONGEST ? text : undefined;
}

const normal = (text: string) =>
  text
    .normalize('NFKC')
    .replaceAll(/[\s\p{P}]+/gu, '')
    .toLowerCase();
const plain = ({ question }: Example) => normal(question);
const reference = ({ ref, digest }: Version, role: string) =>
  create(DatasetReferenceSchema, { ref, digest, role });

/** The row with another question: of a conversation, its last user's turn. */
function withQuestion(example: Example, question: string): Example {
  if (!example.messages) return { ...example, question };
  const at = example.messages.findLastIndex(({ role }) => role === 'user');
  const messages = example.messages.map((turn, i) => (i === at ? { ...turn, content: question } : turn));
  return { ...example, question, messages };
}

async function paraphraseAll(
  examples: readonly Example[],
  ask: (question: string) => Promise<string>,
  signal: AbortSignal,
): Promise<{ example: Example; reply: string }[]> {
  const replies: { example: Example; reply: string }[] = examples.map((example) => ({ example, reply: '' }));
  let next = 0;
  const work = async () => {
    for (let i = next++; i < replies.length; i = next++) {
      signal.throwIfAborted();
      const one = replies[i]!;
      try {
        one.reply = await ask(one.example.question);
      } catch (error) {
        if (!(error instanceof LandfallError) || !SKIPPED.has(error.code)) throw error;
      }
    }
  };
  await Promise.all(Array.from({ length: CONCURRENCY }, work));
  return replies;
}
