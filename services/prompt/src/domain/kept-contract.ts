import { create, fromJson, type JsonValue } from '@bufbuild/protobuf';
import { ValueSchema } from '@bufbuild/protobuf/wkt';
import { aborted, LandfallError } from '@landfall/common/errors/errors.ts';
import type { CallContext } from '@landfall/common/rpc/call-context.ts';
import type { OutputContract } from '@landfall/proto/landfall/prompt/v1/output_contract_pb.js';
import { type Invocation, RepairSchema } from '@landfall/proto/landfall/prompt/v1/prompt_pb.js';
import {
  ChatMessageSchema,
  type SamplingOptions,
  SamplingOptionsSchema,
  type Usage,
  UsageSchema,
} from '@landfall/proto/landfall/text/v1/generation_pb.js';
import type { PromptContext } from '../context.ts';
import { answer } from './answer.ts';
import { type CheckedOutput, checkOutput, constraintOf, repairRequest } from './output-contract.ts';

/** How the answer was asked for. */
export interface HowToAsk {
  sampling: SamplingOptions;
  priority?: number;
}

/**
 * Checks the entry's answer against its contract; one that breaks it goes back to the deployment that gave it, once, with
 * its problems. Writes into the entry what came of it: value, problems, repair, the summed usage.
 * @throws LandfallError ABORTED where the second answer breaks the contract too, or can't be had; asking again may help
 */
export async function keepContract(
  context: Pick<PromptContext, 'replicas'>,
  contract: OutputContract,
  asking: HowToAsk,
  entry: Invocation,
  call: CallContext,
): Promise<void> {
  let checked = checkOutput(contract, entry.output);
  if (!checked.ok) checked = await repaired(context, contract, asking, entry, checked.problems, call);
  if (checked.ok) {
    entry.value = fromJson(ValueSchema, checked.value);
    return;
  }
  entry.contractProblems = checked.problems;
  const problems = checked.problems.join('; ').slice(0, 1000);
  throw aborted(`the model's answer breaks the prompt's output contract: ${problems}`, {
    reason: 'CONTRACT_BROKEN',
    metadata: { invocation: entry.id },
  });
}

async function repaired(
  context: Pick<PromptContext, 'replicas'>,
  contract: OutputContract,
  { sampling, priority = 0 }: HowToAsk,
  entry: Invocation,
  problems: string[],
  call: CallContext,
): Promise<CheckedOutput> {
  const first = create(RepairSchema, {
    output: entry.output,
    problems,
    ...(entry.usage ? { usage: entry.usage } : {}),
  });
  const turn = (role: string, content: string) => create(ChatMessageSchema, { role, content });
  const messages = [
    ...entry.rendered,
    turn('assistant', entry.output),
    turn('user', repairRequest(problems, entry.rendered.map(({ content }) => content).join('\n'))),
  ];
  const question = {
    messages,
    sampling: create(SamplingOptionsSchema, { ...sampling, n: 1 }),
    constraint: constraintOf(contract),
    priority,
  };
  const second = await answer(context, [entry.deployment], question, call).catch((cause: unknown) => {
    if (call.signal.aborted || !(cause instanceof LandfallError)) throw cause;
    return cause;
  });
  if (second instanceof LandfallError) {
    // Such as two more turns that the model's context does not hold: it is the first answer that is told about.
    const again = `it could not be asked for again: ${second.message.slice(0, 300)}`;
    return { ok: false, value: undefined, problems: [...problems, again] };
  }
  const { text, usage, model, finishReason } = second;
  Object.assign(entry, { repair: first, output: text, model, finishReason });
  if (usage) entry.usage = sum(entry.usage, usage);
  return checkOutput(contract, text);
}

function sum(first: Usage | undefined, second: Usage): Usage {
  if (!first) return second;
  return create(UsageSchema, {
    inputTokens: first.inputTokens + second.inputTokens,
    outputTokens: first.outputTokens + second.outputTokens,
    cachedTokens: first.cachedTokens + second.cachedTokens,
    timeToFirstTokenMs: first.timeToFirstTokenMs,
    durationMs: first.durationMs + second.durationMs,
    queueMs: first.queueMs + second.queueMs,
  });
}

/** What a sample votes for under a contract: the value that it reads; nothing where the sample breaks it. */
export const ballotUnder =
  (contract: OutputContract) =>
  (sample: string): string | undefined => {
    const checked = checkOutput(contract, sample);
    return checked.ok ? JSON.stringify(sorted(checked.value)) : undefined;
  };

/** The same value with the members of its objects in one order. */
function sorted(value: JsonValue): JsonValue {
  if (Array.isArray(value)) return value.map(sorted);
  if (typeof value !== 'object' || value === null) return value;
  const members = Object.entries(value).map(([name, one]) => [name, sorted(one)] as const);
  return Object.fromEntries(members.sort(([a], [b]) => (a < b ? -1 : 1)));
}
