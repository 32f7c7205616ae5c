import { canRewrite, escapeTemplate, partsOf, withTurn } from '../parts.ts';
import type { Move, Proposal, Setting } from './move.ts';

/** Asks a served model for a text; undefined when the budget is spent. @param about names the question for its record */
export type Rewriter = (about: string, question: string) => Promise<string | undefined>;

const SHOWN = 5;
/** Replies that a round asks for at most, however few of them are of use. */
const MOST = 9;
const LONGEST = 2000;
const LONGEST_SHOWN = 300;

/**
 * Has a served model write another instruction: from examples alone (Zhou et al. 2023), from what the present one got
 * wrong (Pryzant et al. 2023), and in other words.
 */
export const instructions = (rewrite: Rewriter): Move =>
  async function* (setting: Setting): AsyncGenerator<Proposal> {
    const { parent } = setting;
    if (!canRewrite(parent)) return;
    const { instruction, input, variables } = partsOf(parent);
    if (variables.length === 0) return;
    for (let i = 0; i < MOST; i++) {
      const way = waysOf(setting, instruction)[i % 3];
      if (!way) continue;
      const reply = await rewrite(`${way.name}:${i}`, way.question);
      if (reply === undefined) return;
      const written = cleanInstruction(reply);
      if (written === '' || written === instruction) continue;
      yield {
        draft: withTurn(parent, `${escapeTemplate(written)}\n${input}`),
        reason: `an instruction written by the model ${way.why}`,
      };
    }
  };

interface Way {
  name: string;
  why: string;
  question: string;
}

/** Three ways to ask; one that lacks what it shows is undefined. */
function waysOf(setting: Setting, instruction: string): (Way | undefined)[] {
  const zh = setting.view.language === 'zh';
  return [induced(setting, zh), mended(setting, instruction, zh), rephrased(instruction, zh)];
}

function induced({ examples, random }: Setting, zh: boolean): Way | undefined {
  const usable = examples.filter(({ expected }) => expected.length > 0);
  if (usable.length === 0) return undefined;
  const shown = Array.from({ length: Math.min(SHOWN, usable.length) }, () => {
    const { variables, expected } = usable[Math.floor(random() * usable.length)]!;
    return pair(textOf(variables), expected[0]!, zh);
  }).join('\n\n');
  return {
    name: 'induce',
    why: 'from examples',
    question: zh
      ? `下面是一项任务的几个例子。\n\n${shown}\n\n请写出这项任务的指令,让别人看了指令就能从输入得到输出。只写指令:`
      : `Here are examples of a task.\n\n${shown}\n\nWrite the instruction of this task, so that someone who reads it can get from the input to the output. Instruction only:`,
  };
}

function mended({ misses }: Setting, instruction: string, zh: boolean): Way | undefined {
  if (misses.length === 0 || instruction === '') return undefined;
  const shown = misses
    .slice(0, SHOWN)
    .map(({ test, output }) => {
      const [input, wanted] = [textOf(test.variables), cut(test.expected[0] ?? '')];
      return zh
        ? `输入:${input}\n得到:${cut(output)}\n应为:${wanted}`
        : `Input: ${input}\nGot: ${cut(output)}\nWanted: ${wanted}`;
    })
    .join('\n\n');
  return {
    name: 'mend',
    why: 'from what the one before got wrong',
    question: zh
      ? `现在的指令是:${instruction}\n\n按它得到了这些错误的结果:\n\n${shown}\n\n请写出一条更好的指令。只写指令:`
      : `The instruction is: ${instruction}\n\nIt led to these wrong results:\n\n${shown}\n\nWrite a better instruction. Instruction only:`,
  };
}

function rephrased(instruction: string, zh: boolean): Way | undefined {
  if (instruction === '') return undefined;
  return {
    name: 'rephrase',
    why: 'in other words',
    question: zh
      ? `请换一种说法,意思不变,写得更明确。只写结果:${instruction}`
      : `Say this in other words, with the same meaning and more precisely. Result only: ${instruction}`,
  };
}

const pair = (input: string, output: string, zh: boolean) =>
  zh ? `输入:${input}\n输出:${cut(output)}` : `Input: ${input}\nOutput: ${cut(output)}`;

const textOf = (variables: object | undefined): string => {
  const entries = Object.entries(variables ?? {});
  const text = (value: unknown) => (typeof value === 'string' ? value : JSON.stringify(value));
  return cut(
    entries.length === 1 ? text(entries[0]![1]) : entries.map(([k, v]) => `${k}: ${text(v)}`).join('; '),
  );
};

const cut = (text: string) => text.slice(0, LONGEST_SHOWN);

/** The instruction in a model's reply: without fences, quotes and a heading. */
export function cleanInstruction(reply: string): string {
  return reply
    .trim()
    .replace(/^```[a-z]*\n([\s\S]*?)\n?```$/, '$1')
    .replace(/^\s*(?:指令|结果|instruction|result)\s*[::]\s*/i, '')
    .replace(/^(["'“「『])([\s\S]*)["'”」』]$/, '$2')
    .trim()
    .slice(0, LONGEST);
}
