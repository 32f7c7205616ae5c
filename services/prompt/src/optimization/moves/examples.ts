import { create } from '@bufbuild/protobuf';
import { permutation } from '@landfall/metrics/random.ts';
import type { TestSetRow } from '@landfall/proto/landfall/prompt/v1/evaluation_pb.js';
import {
  type FewShot,
  FewShotExampleSchema,
  FewShotSchema,
  FewShot_Selection as Selection,
} from '@landfall/proto/landfall/prompt/v1/few_shot_pb.js';
import { type PromptDraft, PromptDraftSchema } from '@landfall/proto/landfall/prompt/v1/prompt_service_pb.js';
import { placeOfExamples } from '../../domain/render.ts';
import { canRewrite, withTurn } from '../parts.ts';
import type { Move, Proposal, Setting } from './move.ts';

const COUNTS = [2, 4, 1, 8];
const SIMILAR_COUNT = 4;
/** Few rows make few different draws: a round that asks for more gets what there is. */
const MOST = 32;

/** Shows other examples, each time drawn anew, as turns or in the text; or the same in another order. */
export const examples: Move = function* ({
  parent,
  view,
  examples: pool,
  random,
}: Setting): Generator<Proposal> {
  const usable = pool.filter(({ expected }) => expected.length > 0 && expected[0] !== '');
  if (usable.length === 0) return;
  const shown = parent.fewShot?.examples.length ?? 0;
  if (shown === 0 && usable.length > SIMILAR_COUNT) {
    yield {
      draft: withExamples(parent, usable, Selection.SIMILAR, SIMILAR_COUNT),
      reason: `the ${SIMILAR_COUNT} most similar of ${usable.length} examples are shown as turns`,
    };
  }
  const byLabel = view.task.kind === 'labels';
  const drawn = byLabel ? ', the labels in turn' : '';
  for (let i = 0; i < MOST; i++) {
    if (shown > 1 && i % 2 === 1) {
      yield { draft: turned(parent, random), reason: `the ${shown} examples in another order` };
      continue;
    }
    const count = Math.min(COUNTS[i % COUNTS.length]!, usable.length);
    const draft = withExamples(parent, choose(usable, count, byLabel, random), Selection.FIXED, 0);
    const inText = shown === 0 && i % 2 === 0 ? asText(draft) : undefined;
    yield inText
      ? { draft: inText, reason: `${count} examples drawn${drawn}, in the text` }
      : { draft, reason: `${count} examples drawn${drawn}` };
  }
};

function turned(draft: PromptDraft, random: Setting['random']): PromptDraft {
  const shown = draft.fewShot!.examples;
  const order = [...permutation(shown.length, random)].map((at) => shown[at]!);
  return create(PromptDraftSchema, {
    ...draft,
    fewShot: create(FewShotSchema, { ...draft.fewShot!, examples: order }),
  });
}

/** Each example as the prompt's own text with its answer behind, before the prompt; undefined where they have a place. */
function asText(draft: PromptDraft): PromptDraft | undefined {
  if (!canRewrite(draft) || placeOfExamples(draft)) return undefined;
  const template = draft.messages.findLast(({ role }) => role === 'user')!.template;
  const fewShot = create(FewShotSchema, { ...draft.fewShot!, template: `${template}\n{output}` });
  return create(PromptDraftSchema, { ...withTurn(draft, `{examples}\n\n${template}`), fewShot });
}

/** Draws without repetition; of labels each in its turn, so that no label is shown more often than it must be. */
function choose(
  pool: readonly TestSetRow[],
  count: number,
  byLabel: boolean,
  random: Setting['random'],
): TestSetRow[] {
  const order = [...permutation(pool.length, random)].map((i) => pool[i]!);
  if (!byLabel) return order.slice(0, count);
  const byName = new Map<string, TestSetRow[]>();
  for (const row of order) {
    const label = row.expected[0]!;
    byName.set(label, [...(byName.get(label) ?? []), row]);
  }
  const chosen: TestSetRow[] = [];
  for (let turn = 0; chosen.length < count; turn++) {
    for (const rows of byName.values()) {
      const row = rows[turn];
      if (row && chosen.length < count) chosen.push(row);
    }
  }
  return chosen;
}

function withExamples(
  draft: PromptDraft,
  rows: readonly TestSetRow[],
  selection: Selection,
  count: number,
): PromptDraft {
  const { maxTokens = 0, template = '' } = draft.fewShot ?? ({} as Partial<FewShot>);
  const fewShot = create(FewShotSchema, {
    examples: rows.map(({ variables, expected }) =>
      create(FewShotExampleSchema, { ...(variables ? { variables } : {}), output: expected[0]! }),
    ),
    ...{ selection, count, maxTokens, template },
  });
  return create(PromptDraftSchema, { ...draft, fewShot });
}
