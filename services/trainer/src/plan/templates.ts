import { CHAT, DEFAULT_TEMPLATE } from '../engine/data/template.ts';

/** Wordings that ask the same, so that a model learns the answer and not the wording. */
const CHINESE = [
  '请回答下面的问题:{question}',
  '{question}\n请直接给出答案。',
  '我想请教一个问题:{question}',
  '问:{question}',
];
const ENGLISH = [
  'Please answer this question: {question}',
  '{question}\nGive the answer directly.',
  'I would like to know: {question}',
  'Question: {question}',
];

/**
 * The templates of a run with more wordings behind them. The first one stays: evaluations ask with it.
 *
 * @param templates as configured; empty is the default template
 */
export function moreTemplates(templates: readonly string[], chinese: boolean): string[] {
  const now = templates.length > 0 ? templates : [DEFAULT_TEMPLATE];
  const wordings = chinese ? CHINESE : ENGLISH;
  // In a chat the wording is the user's turn; in a plain prompt the answer follows, so its cue comes last.
  const added =
    now[0] === CHAT ? wordings : wordings.map((text) => `${text}\n${chinese ? '回答:' : 'Answer: '}`);
  return [...now, ...added.filter((text) => !now.includes(text))].slice(0, 32);
}
