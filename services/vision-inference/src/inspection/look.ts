import type { BalancedClient } from '@landfall/common/balancing/balanced-client.ts';
import { aborted } from '@landfall/common/errors/errors.ts';
import type { CallContext } from '@landfall/common/rpc/call-context.ts';
import { type Mirrored, mirroredImage } from '@landfall/images/mirrored.ts';
import type { ProfileSpec } from '@landfall/proto/landfall/vision/v1/profile_pb.js';
import { agreement, listOf, type Named } from './agreement.ts';
import { type Answer, AnswerError, readAnswer } from './answer.ts';
import { askModel } from './ask-model.ts';
import { type Confidence, confidenceOf } from './confidence.ts';
import { thresholdOf } from './judge.ts';
import { looksOf, mostDefects, questionOf } from './question.ts';

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

/** How the image is held at each look. */
const WAYS: readonly Mirrored[] = [
  { x: false, y: false },
  { x: true, y: true },
  { x: true, y: false },
  { x: false, y: true },
];

/** Who is asked, and by what. */
interface Asking {
  replicas: BalancedClient;
  deployment: string;
  spec: ProfileSpec;
  call: CallContext;
}

/**
 * Asks a deployment about an image, as often as the profile says: as it is, and mirrored. The answer is that of the first
 * look, with the defects on which the looks agree in the place of its own.
 * @throws LandfallError what the replica says, or ABORTED for an answer that is no report
 */
export async function look(asking: Asking, image: Uint8Array): Promise<Look> {
  const { spec } = asking;
  const ids = spec.defectTypes.map(({ id }) => id);
  const least = Math.min(1, ...ids.map((id) => thresholdOf(spec, id)));
  const count = looksOf(spec);
  const looks = await Promise.all(
    WAYS.slice(0, count).map(async (way, i) =>
      lookOnce(asking, i === 0 ? image : await mirroredImage(image, way), least / count),
    ),
  );
  const first = looks[0]!;
  // Of a model that was changed meanwhile, or tells no probabilities, there is nothing to weigh.
  const isAlike = looks.every(({ model, confidence }) => model === first.model && confidence !== undefined);
  return count > 1 && isAlike ? agreed(looks, spec, least) : first;
}

/**
 * A model names what it holds for likelier than not; for less it is asked for one defect more as long as that one may
 * reach it, held to the schema with so many items.
 */
async function lookOnce(asking: Asking, image: Uint8Array, least: number): Promise<Look> {
  const { replicas, deployment, spec, call } = asking;
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
    const ids = spec.defectTypes.map(({ id }) => id);
    return { ...told, answer, confidence: confidenceOf(told.text, answer, told.logprobs, ids) };
  }
}

function agreed(looks: readonly Look[], spec: ProfileSpec, least: number): Look {
  const first = looks[0]!;
  const defects = agreement(
    looks.map((one, i) => namedBy(one, WAYS[i]!)),
    spec,
    least,
  );
  const { listAt, endAt } = first.answer;
  const text = `${first.text.slice(0, listAt)}${listOf(defects, spec)}${first.text.slice(endAt + 1)}`;
  const mean = (value: (confidence: Confidence) => number) =>
    looks.reduce((sum, { confidence }) => sum + value(confidence!), 0) / looks.length;
  const confidence = {
    ...{ defect: mean((one) => one.defect), another: mean((one) => one.another) },
    findings: defects.map((one) => one.confidence),
  };
  return { ...first, text, answer: read(text, spec), confidence };
}

/** What a look named, where it lies in the image as it came. */
function namedBy({ answer, confidence }: Look, { x, y }: Mirrored): Named[] {
  return answer.findings.map(({ type, severity, box: [x0, y0, x1, y1] }, i) => ({
    ...{ type, severity, confidence: confidence!.findings[i]! },
    box: [x ? 1 - x1 : x0, y ? 1 - y1 : y0, x ? 1 - x0 : x1, y ? 1 - y0 : y1],
  }));
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
