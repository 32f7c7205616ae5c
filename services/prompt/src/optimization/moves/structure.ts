import { canRewrite, escapeTemplate, partsOf, withTurn } from '../parts.ts';
import type { RowsView } from '../task.ts';
import { libraryPatterns, type Pattern } from './library-patterns.ts';
import type { Move, Proposal, Setting } from './move.ts';

/**
 * Lays the prompt out by another pattern: instruction and input in another order, in sections, in turns of their own, or
 * in the wording of a pattern for the task. Every variable keeps a place.
 */
export const structure: Move = function* ({ parent, view }: Setting): Generator<Proposal> {
  if (!canRewrite(parent)) return;
  const { instruction, input, variables } = partsOf(parent);
  if (variables.length === 0) return;
  const patterns = [
    ...taskPatterns(view, input),
    ...libraryPatterns(view, input, instruction),
    ...layouts(view, instruction, input),
  ];
  for (const { name, user, system } of patterns) {
    yield { draft: withTurn(parent, user, system), reason: `laid out as: ${name}` };
  }
};

/** The same instruction, laid out in other ways. */
function layouts({ language }: RowsView, instruction: string, input: string): Pattern[] {
  const bare: Pattern = { name: 'the input alone', user: input };
  if (instruction === '') return [bare];
  const zh = language === 'zh';
  const colon = zh ? ':' : ': ';
  return [
    { name: 'instruction, then input', user: `${instruction}${colon}${input}` },
    { name: 'instruction, then input in a line of its own', user: `${instruction}\n${input}` },
    {
      name: 'sections for task, input and output',
      user: zh
        ? `### 任务\n${instruction}\n### 输入\n${input}\n### 输出`
        : `### Task\n${instruction}\n### Input\n${input}\n### Output`,
    },
    { name: 'instruction as a turn of the system', user: input, system: instruction },
    { name: 'input, then instruction', user: `${input}\n${instruction}` },
    bare,
    {
      name: 'steps first',
      user: zh
        ? `${instruction}\n${input}\n请先一步一步思考,再给出答案。`
        : `${instruction}\n${input}\nThink step by step, then give the answer.`,
    },
  ];
}

/** Wordings that have served for such a task. */
function taskPatterns({ task, language }: RowsView, input: string): Pattern[] {
  const zh = language === 'zh';
  switch (task.kind) {
    case 'labels':
      return labelPatterns(task.labels.map(escapeTemplate), zh, input);
    case 'json': {
      const keys = [...new Set(task.objects.flatMap((object) => Object.keys(object)))].map(escapeTemplate);
      const list = keys.join(zh ? '、' : ', ');
      return zh
        ? [
            { name: 'extraction, short', user: `从下面的内容中提取${list}:${input}` },
            { name: 'extraction, JSON', user: `从下面的内容中提取${list},用 JSON 输出:\n${input}` },
          ]
        : [
            { name: 'extraction, short', user: `Extract ${list} from: ${input}` },
            { name: 'extraction, JSON', user: `Extract ${list} from the text and reply in JSON.\n${input}` },
          ];
    }
    case 'number':
      return zh
        ? [{ name: 'calculation', user: `请计算,只回答数字:${input}` }]
        : [{ name: 'calculation', user: `Calculate and reply with the number only: ${input}` }];
    default:
      return zh
        ? [
            { name: 'question and answer', user: `问题:${input}\n回答:` },
            { name: 'request', user: `请回答:${input}` },
          ]
        : [
            { name: 'question and answer', user: `Question: ${input}\nAnswer:` },
            { name: 'request', user: `Please answer: ${input}` },
          ];
  }
}

function labelPatterns(labels: readonly string[], zh: boolean, input: string): Pattern[] {
  const last = labels.at(-1)!;
  const before = labels.slice(0, -1);
  if (zh) {
    const either = `${before.join('、')}还是${last}`;
    const list = labels.join('、');
    return [
      { name: 'classification as a choice', user: `判断下面这句话是${either}:${input}` },
      { name: 'classification with a list of labels', user: `把下面的内容分到一个类别(${list}):${input}` },
      { name: 'classification as a question', user: `${input}\n这是${either}?` },
      {
        name: 'classification in sections',
        user: `### 任务\n判断内容属于哪一类。\n### 类别\n${list}\n### 内容\n${input}\n### 类别是`,
      },
      { name: 'classification by criteria', user: `请对内容分类,类别只有:${list}。\n内容:${input}\n类别:` },
    ];
  }
  const either = `${before.join(', ')} or ${last}`;
  const list = labels.join(', ');
  return [
    { name: 'classification as a choice', user: `Decide whether the following is ${either}: ${input}` },
    {
      name: 'classification with a list of labels',
      user: `Classify the text as one of: ${list}.\nText: ${input}\nLabel:`,
    },
    { name: 'classification as a question', user: `${input}\nIs this ${either}?` },
    {
      name: 'classification in sections',
      user: `### Task\nClassify the text.\n### Labels\n${list}\n### Text\n${input}\n### Label`,
    },
  ];
}
