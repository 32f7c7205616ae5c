import { create } from '@bufbuild/protobuf';
import {
  type OutputContract,
  OutputContractSchema,
} from '@landfall/proto/landfall/prompt/v1/output_contract_pb.js';
import { type PromptDraft, PromptDraftSchema } from '@landfall/proto/landfall/prompt/v1/prompt_service_pb.js';
import { inferSchema } from '../infer-schema.ts';
import { canRewrite, escapeTemplate, withTurn } from '../parts.ts';
import type { RowsView } from '../task.ts';
import type { Move, Proposal, Setting } from './move.ts';

/** A form of answers: how it is said, and what holds the model to it. */
interface Form {
  words: string;
  contract: OutputContract | undefined;
}

/** Demands the form that the expected answers have: in words, by an output contract, and by both. */
export const format: Move = function* ({ parent, view }: Setting): Generator<Proposal> {
  const { words, contract } = formOf(view);
  const isNew = contract && !parent.outputContract;
  const says = parent.messages.some(({ template }) => template.includes(words));
  if (isNew)
    yield { draft: withContract(parent, contract), reason: `the answer is held to its form: ${words}` };
  if (!canRewrite(parent) || says || words === '') return;
  const told = withWords(parent, words);
  yield { draft: told, reason: `the form is demanded in words: ${words}` };
  if (isNew) yield { draft: withContract(told, contract), reason: `demanded in words and held to: ${words}` };
};

function formOf({ task, language }: RowsView): Form {
  const zh = language === 'zh';
  switch (task.kind) {
    case 'labels': {
      const list = task.labels.map((label) => escapeTemplate(label));
      return {
        words: zh
          ? `只输出${list.join('、')}中的一个,不要输出别的内容。`
          : `Reply with one of ${list.join(', ')} and nothing else.`,
        contract: create(OutputContractSchema, { kind: { case: 'oneOf', value: { options: task.labels } } }),
      };
    }
    case 'number':
      return {
        words: zh ? '只输出一个数字。' : 'Reply with one number and nothing else.',
        contract: create(OutputContractSchema, {
          kind: { case: 'regex', value: '[-+]?[0-9]{1,15}(\\.[0-9]{1,15})?' },
        }),
      };
    case 'json': {
      const schema = inferSchema(task.objects);
      const keys = Object.keys(schema.properties)
        .map(escapeTemplate)
        .join(zh ? '、' : ', ');
      return {
        words: zh
          ? `只输出一个 JSON 对象,字段:${keys}。`
          : `Reply with one JSON object with the fields ${keys}.`,
        contract: create(OutputContractSchema, {
          kind: { case: 'jsonSchema', value: JSON.stringify(schema) },
        }),
      };
    }
    default: {
      if (task.longest === 0) return { words: '', contract: undefined };
      // A round number that the longest answers keep.
      const most = Math.max(10, Math.ceil((task.longest * 1.2) / 10) * 10);
      return {
        words: zh ? `请用不超过${most}个字回答。` : `Answer in at most ${most} characters.`,
        contract: undefined,
      };
    }
  }
}

const withContract = (draft: PromptDraft, outputContract: OutputContract): PromptDraft =>
  create(PromptDraftSchema, { ...draft, outputContract });

function withWords(draft: PromptDraft, words: string): PromptDraft {
  const template = draft.messages.findLast(({ role }) => role === 'user')!.template;
  return withTurn(draft, `${words}\n${template}`);
}
