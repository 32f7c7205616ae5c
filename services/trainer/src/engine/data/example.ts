import { createHash } from 'node:crypto';
import type { IssueReport } from './issues.ts';
import type { Turn } from './tokenizer.ts';

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
}

const ROLES = new Set<unknown>(['system', 'user', 'assistant']);
const MAX_TURNS = 1000;

/** Reads a row: `question` and `answer`, or `messages` of role and content. What it lacks is reported. */
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
  const { question, answer, messages } = value as Record<string, unknown>;
  if (messages !== undefined && question === undefined) return conversation(row, messages, report);
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

/** A digest of what a row says; equal for rows that are trained on alike. */
export function keyOf({ question, answer, messages }: Example): string {
  return createHash('sha256')
    .update(JSON.stringify(messages ?? [question, answer]))
    .digest('base64');
}

/** The row as a line of a data file. */
export function lineOf({ question, answer, messages }: Example): string {
  return `${JSON.stringify(messages ? { messages } : { question, answer })}\n`;
}

/** A row from a line that `lineOf` wrote. */
export function exampleOf(row: number, line: string): Example {
  const { question, answer, messages } = JSON.parse(line) as Partial<Example>;
  if (!messages) return { row, question: question!, answer: answer! };
  const asked = messages.findLast(({ role }) => role === 'user')!;
  return { row, question: asked.content, answer: messages.at(-1)!.content, messages };
}

function textOf(row: number, name: string, field: unknown, report: IssueReport): string | undefined {
  if (typeof field !== 'string') {
    report.add(row, 'missing_field', `${name} is ${field === undefined ? 'missing' : 'not a string'}`);
    return undefined;
  }
  // What a wrong encoding leaves behind once it was read as UTF-8: replacement characters and lone surrogates.
  if (field.includes('\ufffd') || !field.isWellFormed()) {
    report.add(row, 'encoding', `${name} has characters that a wrong encoding has broken`);
    return undefined;
  }
  return field.trim();
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
