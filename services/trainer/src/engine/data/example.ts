import { createHash } from 'node:crypto';
import type { IssueReport } from './issues.ts';
import { parsePair } from './pair.ts';
import { textOf } from './text-field.ts';
import type { Turn } from './tokenizer.ts';

/** Where an image stands in a text. */
export const IMAGE_PLACE = '<image>';
/** Images of a row at most, as many as a served message brings. */
const MAX_IMAGES = 16;

/** An image that a row shows. */
export interface ExampleImage {
  /** Within the data set's folder. */
  path: string;
  /** Where it lies on the disk; empty until it was looked for, as is its digest. */
  file: string;
  /** sha256 of the file. */
  digest: string;
}

/** A row that can be trained on or answered. */
export interface Example {
  /** From 1, in its file. */
  row: number;
  /** What is asked: of a conversation, its last user's turn. */
  question: string;
  /** Of a conversation, its last turn. */
  answer: string;
  /** The conversation, where the row is one: it ends with the answer. */
  messages?: Turn[];
  /** What the row shows, in the order of its places in the texts that come before the answer. */
  images?: ExampleImage[];
  /**
   * Of an image and its caption: the caption is the answer, nothing is asked. The pair's class; empty for none.
   */
  pair?: { label: string };
}

const ROLES = new Set<unknown>(['system', 'user', 'assistant']);
const MAX_TURNS = 1000;

/**
 * Reads a row: `question` and `answer`, or `messages` of role and content, and what it shows: `image`, a path, or
 * `images`; or an `image` with its `caption` and, where it has one, `label`. What it lacks is reported. The images are
 * not looked for.
 */
export function parseExample(row: number, text: string, report: IssueReport): Example | undefined {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    report.add(row, 'malformed_json', 'not valid JSON');
    return undefined;
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    report.add(row, 'malformed_json', 'not a JSON object with question and answer');
    return undefined;
  }
  const fields = value as Record<string, unknown>;
  const { question, answer, messages, image, images } = fields;
  const paths = imagePaths(image, images);
  if (typeof paths === 'string') {
    report.add(row, 'image_path', paths);
    return undefined;
  }
  if (isPair(fields)) return parsePair(row, fields, paths, report);
  const example =
    messages !== undefined && question === undefined
      ? conversation(row, messages, report)
      : single(row, question, answer, report);
  return example && withImages(example, paths, report);
}

/** Whether a row is of an image and its caption, though one of them may be missing. */
const isPair = ({ caption, image, images, question, answer, messages }: Record<string, unknown>) =>
  question === undefined &&
  answer === undefined &&
  messages === undefined &&
  (caption !== undefined || image !== undefined || images !== undefined);

/** What each image shows stands where the texts say so. */
function withImages(example: Example, paths: readonly string[], report: IssueReport): Example | undefined {
  // Without an image the word is a text like any other.
  if (paths.length === 0) return example;
  const places = imagePlaces(example);
  const refuse = (message: string) => {
    report.add(example.row, 'image_places', message);
    return undefined;
  };
  if (example.answer.includes(IMAGE_PLACE))
    return refuse(`the answer has a place for an image (${IMAGE_PLACE})`);
  if (places !== paths.length)
    return refuse(
      `the texts before the answer have ${places} places for images (${IMAGE_PLACE}); the row has ${paths.length}`,
    );
  return { ...example, images: paths.map((path) => ({ path, file: '', digest: '' })) };
}

/** Places for images in the texts before an answer. */
function imagePlaces({ question, messages }: Example): number {
  const texts = messages?.slice(0, -1).map(({ content }) => content) ?? [question];
  return texts.reduce((sum, text) => sum + text.split(IMAGE_PLACE).length - 1, 0);
}

/** Paths of a row's images, or what is wrong with them. */
function imagePaths(image: unknown, images: unknown): string[] | string {
  if (image !== undefined && images !== undefined)
    return 'both image and images are given; one of them is enough';
  const given = images === undefined ? (image === undefined ? [] : [image]) : images;
  if (!Array.isArray(given) || !given.every((path) => typeof path === 'string' && path !== ''))
    return 'image is not a path, or images is not a list of paths';
  if (given.length > MAX_IMAGES) return `images has ${given.length} paths; at most ${MAX_IMAGES} are shown`;
  const climbs = given.findIndex((path: string) => !isWithin(path));
  return climbs < 0 ? given : `images[${climbs}] leads out of the data set`;
}

/** Whether a path stays in the folder that it begins from. */
function isWithin(path: string): boolean {
  if (path.startsWith('/') || /[\\\0]/.test(path)) return false;
  return path.split('/').every((part) => part !== '' && part !== '.' && part !== '..');
}

function single(row: number, question: unknown, answer: unknown, report: IssueReport): Example | undefined {
  const asked = textOf(row, 'question', question, report);
  if (asked === undefined) return undefined;
  const answered = textOf(row, 'answer', answer, report);
  if (answered === undefined) return undefined;
  if (asked === '') {
    report.add(row, 'missing_field', 'question is empty');
    return undefined;
  }
  if (answered === '') {
    report.add(row, 'empty_answer', 'answer is empty');
    return undefined;
  }
  return { row, question: asked, answer: answered };
}

/** A digest of what a row says and shows; equal for rows that are trained on alike. */
export function keyOf({ question, answer, messages, images = [], pair }: Example): string {
  const shown = images.map(({ digest }) => digest);
  const said = messages ?? [question, answer, ...(pair ? [pair.label] : [])];
  return createHash('sha256')
    .update(JSON.stringify([said, ...shown]))
    .digest('base64');
}

/** The row as a line of a data file. */
export function lineOf({ question, answer, messages, images, pair }: Example): string {
  if (pair) {
    const { label } = pair;
    return `${JSON.stringify({ image: images![0]!.path, caption: answer, ...(label ? { label } : {}) })}\n`;
  }
  const shown = images ? { images: images.map(({ path }) => path) } : {};
  return `${JSON.stringify({ ...shown, ...(messages ? { messages } : { question, answer }) })}\n`;
}

/** What `lineOf` writes. */
interface WrittenRow extends Omit<Partial<Example>, 'images'> {
  images?: string[];
  image?: string;
  caption?: string;
  label?: string;
}

/** A row from a line that `lineOf` wrote. @param imageOf an image of the data set by its path */
export function exampleOf(row: number, line: string, imageOf: (path: string) => ExampleImage): Example {
  const { question, answer, messages, images, image, caption, label } = JSON.parse(line) as WrittenRow;
  if (caption !== undefined)
    return { row, question: '', answer: caption, images: [imageOf(image!)], pair: { label: label ?? '' } };
  const shown = images ? { images: images.map(imageOf) } : {};
  if (!messages) return { row, question: question!, answer: answer!, ...shown };
  const asked = messages.findLast(({ role }) => role === 'user')!;
  return { row, question: asked.content, answer: messages.at(-1)!.content, messages, ...shown };
}

function conversation(row: number, messages: unknown, report: IssueReport): Example | undefined {
  const refuse = (message: string) => {
    report.add(row, 'missing_field', message);
    return undefined;
  };
  if (!Array.isArray(messages) || messages.length === 0) return refuse('messages is not a list of turns');
  if (messages.length > MAX_TURNS)
    return refuse(`messages has ${messages.length} turns; at most ${MAX_TURNS} are read`);
  const turns: Turn[] = [];
  for (const [i, turn] of messages.entries()) {
    const { role, content } = (turn ?? {}) as Record<string, unknown>;
    if (!ROLES.has(role)) return refuse(`messages[${i}].role is not system, user or assistant`);
    const text = textOf(row, `messages[${i}].content`, content, report);
    if (text === undefined) return undefined;
    turns.push({ role: role as Turn['role'], content: text });
  }
  const last = turns.at(-1)!;
  if (last.role !== 'assistant') return refuse('messages does not end with an assistant turn to learn');
  if (last.content === '') {
    report.add(row, 'empty_answer', `messages[${turns.length - 1}].content is empty`);
    return undefined;
  }
  const asked = turns.findLast(({ role }) => role === 'user');
  if (!asked || asked.content === '') return refuse('messages has no user turn to answer');
  return { row, question: asked.content, answer: last.content, messages: turns };
}
