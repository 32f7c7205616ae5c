import { create } from '@bufbuild/protobuf';
import {
  type DiffLine,
  DiffLineSchema,
  DiffLine_Side as Side,
  type TurnDiff,
  TurnDiffSchema,
} from '@landfall/proto/landfall/prompt/v1/change_pb.js';
import type { TemplateMessage } from '@landfall/proto/landfall/prompt/v1/prompt_pb.js';
import { diffArrays } from 'diff';

/** Changes that are looked for: beyond, the texts have too little in common, and one stands for the other as a whole. */
const MOST_EDITS = 800;

/** The turns that two versions have otherwise, line by line (Myers 1986). A turn that moved is one gone and one new. */
export function turnDiffs(before: readonly TemplateMessage[], after: readonly TemplateMessage[]): TurnDiff[] {
  const found: TurnDiff[] = [];
  let [a, b] = [0, 0];
  let gone: number[] = [];
  let added: number[] = [];
  const settle = () => {
    // Turns of the same role at the same place of what changed are one turn before and after.
    for (const from of gone) {
      const same = added.findIndex((to) => after[to]!.role === before[from]!.role);
      const passed = added.splice(0, same + 1);
      const to = passed.pop();
      for (const other of passed) found.push(turn(before, after, undefined, other));
      found.push(turn(before, after, from, to));
    }
    for (const to of added) found.push(turn(before, after, undefined, to));
    [gone, added] = [[], []];
  };
  const key = ({ role, template }: TemplateMessage) => `${role}\n${template}`;
  for (const part of diffArrays(before.map(key), after.map(key))) {
    const count = part.value.length;
    if (part.removed) gone.push(...range(a, a + count));
    else if (part.added) added.push(...range(b, b + count));
    else settle();
    if (!part.added) a += count;
    if (!part.removed) b += count;
  }
  settle();
  return found;
}

const range = (from: number, to: number) => Array.from({ length: to - from }, (_, i) => from + i);

function turn(
  before: readonly TemplateMessage[],
  after: readonly TemplateMessage[],
  from: number | undefined,
  to: number | undefined,
): TurnDiff {
  const [was, is] = [from === undefined ? undefined : before[from], to === undefined ? undefined : after[to]];
  return create(TurnDiffSchema, {
    ...(from === undefined ? {} : { before: from }),
    ...(to === undefined ? {} : { after: to }),
    role: (was ?? is)!.role,
    lines: lineDiff(linesOf(was), linesOf(is)),
  });
}

const linesOf = (message: TemplateMessage | undefined) => message?.template.split('\n') ?? [];

function lineDiff(before: string[], after: string[]): DiffLine[] {
  const line = (side: Side) => (text: string) => create(DiffLineSchema, { side, text });
  const parts = diffArrays(before, after, { maxEditLength: MOST_EDITS });
  if (!parts) return [...before.map(line(Side.REMOVED)), ...after.map(line(Side.ADDED))];
  return parts.flatMap(({ value, removed, added }) =>
    value.map(line(removed ? Side.REMOVED : added ? Side.ADDED : Side.BOTH)),
  );
}
