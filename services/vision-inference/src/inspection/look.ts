import type { BalancedClient } from '@landfall/common/balancing/balanced-client.ts';
import { aborted } from '@landfall/common/errors/errors.ts';
import type { CallContext } from '@landfall/common/rpc/call-context.ts';
import type { ProfileSpec } from '@landfall/proto/landfall/vision/v1/profile_pb.js';
import { type Answer, AnswerError, readAnswer } from './answer.ts';
import { askModel } from './ask-model.ts';
import { type Confidence, confidenceOf } from './confidence.ts';
import { thresholdOf } from './judge.ts';
import { mostDefects, questionOf } from './question.ts';

/** What a model saw. */
export interface Look {
  text: string;
  answer: Answer;
  /** undefined where the model tells no probabilities. */
  confidence: Confidence | undefined;
  /** `models:/name/version` that answered. */
  model: string;
  firstTokenMs: number;
}

/**
 * Asks a deployment about an image. A model names what it holds for likelier than not; where the profile's thresholds
 * are lower it is asked for one defect more as long as that one may reach them, held to the schema with so many items.
 * @throws LandfallError what the replica says, or ABORTED for an answer that is no report
 */
export async function look(
  replicas: BalancedClient,
  deployment: string,
  spec: ProfileSpec,
  image: Uint8Array,
  call: CallContext,
): Promise<Look> {
  const ids = spec.defectTypes.map(({ id }) => id);
  const least = Math.min(1, ...ids.map((id) => thresholdOf(spec, id)));
  const seen = await once(0);
  for (;;) {
    const { answer, confidence } = seen;
    const count = answer.findings.length;
    if (least === 0 || !confidence || confidence.another < least || count >= mostDefects(spec)) return seen;
    const { firstTokenMs: _, ...more } = await once(count + 1);
    // A backend that can't be held to a schema answers as before.
    if (more.answer.findings.length <= count) return seen;
    Object.assign(seen, more);
  }

  async function once(leastDefects: number): Promise<Look> {
    const told = await askModel(replicas, deployment, questionOf(spec, leastDefects), image, call);
    const answer = read(told.text, spec);
    return { ...told, answer, confidence: confidenceOf(told.text, answer, told.logprobs, ids) };
  }
}

function read(text: string, spec: ProfileSpec): Answer {
  try {
    return readAnswer(text, spec);
  } catch (cause) {
    if (!(cause instanceof AnswerError)) throw cause;
    const remedy = 'ask a model that is trained for it, or one that can be held to a schema';
    throw aborted(`the model's answer is no report: ${cause.message}; ${remedy}`, {
      ...{ reason: 'ANSWER_INVALID', cause },
    });
  }
}
