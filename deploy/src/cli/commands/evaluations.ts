import type { EvaluationResult } from '@landfall/proto/landfall/trainer/v1/job_pb.js';
import {
  CompareVersionsResponseSchema,
  EvaluateResponseSchema,
} from '@landfall/proto/landfall/trainer/v1/trainer_service_pb.js';
import {
  type Command,
  numberOf,
  type Options,
  patient,
  reference,
  type Session,
  textOf,
} from '../command.ts';
import { table } from '../render.ts';

/** Scores of a model that answers, or of a CLIP, with their names. */
function scoresOf({ retrieval, ...result }: EvaluationResult): [string, string][] {
  if (retrieval) {
    const { imageToTextRecallAt1, imageToTextRecallAt5, imageToTextRecallAt10 } = retrieval;
    const { textToImageRecallAt1, textToImageRecallAt5, textToImageRecallAt10 } = retrieval;
    const scores = {
      ...{ imageToTextRecallAt1, imageToTextRecallAt5, imageToTextRecallAt10 },
      ...{ textToImageRecallAt1, textToImageRecallAt5, textToImageRecallAt10 },
      ...(retrieval.classes > 0 ? { zeroShotAccuracy: retrieval.zeroShotAccuracy } : {}),
    };
    return Object.entries(scores).map(([name, value]) => [name, value.toFixed(3)]);
  }
  return (['bleu', 'chrf', 'rougeL', 'exactMatch', 'perplexity', 'distinct1', 'distinct2'] as const).map(
    (name) => [name, result[name].toFixed(3)],
  );
}

/** How a version is measured. */
const evaluationOptions: Options = {
  data: { type: 'string' },
  'class-template': { type: 'string', multiple: true },
};
const evaluationMeaning = {
  data: 'data set (required)',
  'class-template': 'of a CLIP: what stands for a class in zero-shot, with {label}; may be repeated',
};
async function evaluationOf(session: Session) {
  return {
    dataset: await reference(session, textOf(session.values, 'data')),
    // Not a list of words: a template may hold commas.
    classTemplates: (session.values['class-template'] ?? []) as string[],
  };
}

export const evaluationCommands: Record<string, Command> = {
  evaluate: {
    usage: 'evaluate REFERENCE --data REFERENCE',
    summary: 'Measures a version on a data set, through deployed replicas; a CLIP needs none.',
    arguments: ['REFERENCE'],
    options: evaluationOptions,
    meaning: evaluationMeaning,
    example: 'evaluate medical@production --data consultations-validation',
    async run(session) {
      const request = {
        model: await reference(session, session.args[0]!),
        evaluation: await evaluationOf(session),
      };
      const reply = await session.clients.trainer.evaluate(request, patient(session));
      const result = reply.result!;
      session.print(EvaluateResponseSchema, reply, () => table(['METRIC', 'VALUE'], scoresOf(result)));
    },
  },
  compare: {
    usage: 'compare FIRST SECOND --data REFERENCE',
    summary: 'Compares two versions on a data set, with a paired bootstrap interval for each metric.',
    arguments: ['FIRST', 'SECOND'],
    options: { ...evaluationOptions, seed: { type: 'string' } },
    meaning: { ...evaluationMeaning, seed: 'of the resamples' },
    example: 'compare medical/1.0.0 medical/1.1.0 --data consultations-validation',
    async run(session) {
      const [first, second] = await Promise.all(session.args.map((ref) => reference(session, ref)));
      const request = {
        first: first!,
        second: second!,
        evaluation: await evaluationOf(session),
        seed: BigInt(numberOf(session.values, 'seed') ?? 0),
      };
      const reply = await session.clients.trainer.compareVersions(request, patient(session));
      session.print(CompareVersionsResponseSchema, reply, () =>
        table(
          ['METRIC', 'FIRST', 'SECOND', '95 % OF THE DIFFERENCE'],
          reply.comparisons.map((one) => [
            one.metric,
            one.first.toFixed(3),
            one.second.toFixed(3),
            `${one.low.toFixed(3)} to ${one.high.toFixed(3)}`,
          ]),
        ),
      );
    },
  },
};
