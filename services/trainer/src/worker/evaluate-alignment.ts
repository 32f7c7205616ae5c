import { Kind } from '@landfall/proto/landfall/registry/v1/model_pb.js';
import type { EvaluationResult } from '@landfall/proto/landfall/trainer/v1/job_pb.js';
import type { RegistryGateway } from '../clients/registry.ts';
import { measureInThread } from '../engine/align/measure-thread.ts';
import { TrainingError } from '../engine/train/errors.ts';
import { missedGates } from '../evaluation/gates.ts';
import { metricsOf, retrievalResultOf } from '../evaluation/results.ts';
import type { Attempt } from './attempt.ts';
import { within } from './progress.ts';

/** Where an evaluation of a CLIP finds things. */
export interface AlignmentEvaluation {
  registry: RegistryGateway;
  base: string;
  /** `models:/name/version` of the draft. */
  draft: string;
  modelFolder: string;
  /** The tuned model. */
  outputFolder: string;
  weightCacheFolder: string;
  threads: number;
}

/**
 * Measures how the base (where asked for) and the tuned CLIP find images and captions of held-out pairs, reports both,
 * and holds the tuned one against the gates. What an earlier attempt has measured is not measured again.
 *
 * @returns metrics for the version, by their names, and `base_` before each for the base
 * @throws TrainingError naming the gates that were missed
 */
export async function evaluateAlignment(
  attempt: Attempt,
  task: AlignmentEvaluation,
): Promise<Record<string, number>> {
  const { job, identity, progress, signal } = attempt;
  const { dataset: ref, includeBase, classTemplates, gates } = job.spec!.evaluation!;
  const options = { identity, signal };
  const version = await attempt.patiently(() =>
    task.registry.ready(ref, Kind.DATASET, 'evaluation.dataset', options),
  );
  const datasetFolder = await attempt.patiently(() => task.registry.folder(version, options));
  const sides = includeBase ? (['base', 'tuned'] as const) : (['tuned'] as const);
  const metrics: Record<string, number> = {};
  for (const [i, side] of sides.entries()) {
    const known = side === 'base' ? job.baseResult : job.tunedResult;
    const result = known ?? (await measure(side, i));
    for (const [name, value] of Object.entries(metricsOf(result)))
      metrics[side === 'base' ? `base_${name}` : name] = value;
  }
  const missed = missedGates(gates, metrics);
  if (missed.length > 0) throw new TrainingError('gate', `${task.draft} stays a draft: ${missed.join('; ')}`);
  return metrics;

  async function measure(side: 'base' | 'tuned', place: number): Promise<EvaluationResult> {
    const startMs = Date.now();
    const { weightCacheFolder, threads } = task;
    const modelFolder = side === 'base' ? task.modelFolder : task.outputFolder;
    const measured = await measureInThread(
      {
        modelFolder,
        readerFolder: task.modelFolder,
        datasetFolder,
        weightCacheFolder,
        classTemplates,
        threads,
      },
      signal,
      (done, all) => {
        progress.totalRows = all * sides.length;
        progress.evaluatedRows = all * place + done;
        within(progress, (place + done / all) / sides.length);
      },
    );
    const result = retrievalResultOf(measured, {
      model: side === 'base' ? task.base : task.draft,
      dataset: ref,
      seconds: (Date.now() - startMs) / 1000,
    });
    await attempt.report({ [side === 'base' ? 'baseResult' : 'tunedResult']: result });
    return result;
  }
}
