import type { Question } from '../clients/replicas.ts';

/** Tokens that a mark with a word around it takes. */
export const JUDGE_TOKENS = 32;

/** Asks for a mark of an answer against its reference, in the answer's language. */
export function judgeQuestion(question: string, reference: string, output: string): Question {
  const chinese = /\p{Script=Han}/u.test(question + reference);
  const content = chinese
    ? '请为回答打分,1 分最差,10 分最好。只看回答是否正确、完整、切题。只输出一个 1 到 10 的整数。\n\n' +
      `问题:${question}\n参考答案:${reference}\n回答:${output}\n分数:`
    : 'Rate the answer from 1 (worst) to 10 (best) for being correct, complete and to the point. Reply with one ' +
      `integer from 1 to 10 only.\n\nQuestion: ${question}\nReference answer: ${reference}\nAnswer: ${output}\nMark:`;
  return { messages: [{ role: 'user', content }] };
}

/** The first number from 1 to 10 in a judge's reply; 0 where there is none. A mark `8/10` is an 8. */
export function readMark(reply: string): number {
  const found = /(?<![\d.])(10|[1-9])(?:\.\d+)?(?!\d)/.exec(reply.normalize('NFKC'));
  return found ? Number(found[1]) : 0;
}
