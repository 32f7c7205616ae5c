import { clone, create, fromJson, type JsonObject, type JsonValue, toJson } from '@bufbuild/protobuf';
import { ValueSchema } from '@bufbuild/protobuf/wkt';
import { mask, PERSONAL_DATA_TYPES } from '@landfall/masking/mask.ts';
import {
  type Invocation,
  InvocationSchema,
  LogContent,
} from '@landfall/proto/landfall/prompt/v1/prompt_pb.js';
import { ChatMessageSchema } from '@landfall/proto/landfall/text/v1/generation_pb.js';

/** What the log keeps of an invocation under a policy; the given one stays as it is. Takes time in proportion to its texts. */
export function keptEntry(entry: Invocation, content: LogContent): Invocation {
  if (content === LogContent.MASKED) return masked(entry);
  if (content === LogContent.NONE) return withoutTexts(entry);
  return entry;
}

const cover = (text: string) => mask(text, { types: PERSONAL_DATA_TYPES }).text;

function masked(entry: Invocation): Invocation {
  const kept = clone(InvocationSchema, entry);
  kept.content = LogContent.MASKED;
  kept.output = cover(kept.output);
  kept.contractProblems = kept.contractProblems.map(cover);
  kept.rendered = kept.rendered.map((turn) =>
    create(ChatMessageSchema, { ...turn, content: cover(turn.content) }),
  );
  for (const vote of kept.votes) vote.output = cover(vote.output);
  for (const attempt of kept.failedAttempts) attempt.message = cover(attempt.message);
  if (kept.variables) kept.variables = coverAll(kept.variables) as JsonObject;
  if (kept.value) kept.value = fromJson(ValueSchema, coverAll(toJson(ValueSchema, kept.value)));
  if (kept.repair) {
    kept.repair.output = cover(kept.repair.output);
    kept.repair.problems = kept.repair.problems.map(cover);
  }
  return kept;
}

/** Numbers are covered as the texts that they are: a card number needs no quotes. */
function coverAll(value: JsonValue): JsonValue {
  if (typeof value === 'string') return cover(value);
  if (typeof value === 'number') return cover(String(value)) === String(value) ? value : cover(String(value));
  if (Array.isArray(value)) return value.map(coverAll);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([name, one]) => [name, coverAll(one)]));
}

function withoutTexts(entry: Invocation): Invocation {
  const kept = clone(InvocationSchema, entry);
  delete kept.variables;
  delete kept.value;
  delete kept.repair;
  if (kept.sampling) kept.sampling.stop = [];
  for (const attempt of kept.failedAttempts) attempt.message = '';
  Object.assign(kept, { rendered: [], output: '', votes: [], contractProblems: [] });
  return Object.assign(kept, { content: LogContent.NONE });
}
