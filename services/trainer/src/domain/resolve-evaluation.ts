import { create } from '@bufbuild/protobuf';
import { failedPrecondition, invalidArgument } from '@landfall/common/errors/errors.ts';
import type { CallOptions } from '@landfall/common/rpc/client.ts';
import { Kind, type Version } from '@landfall/proto/landfall/registry/v1/model_pb.js';
import { type EvaluationConfig, EvaluationConfigSchema } from '@landfall/proto/landfall/trainer/v1/job_pb.js';
import type { TrainerContext } from '../context.ts';
import { keysOf, someApart } from '../engine/align/pairs.ts';
import { DEFAULT_CLASS_TEMPLATES, LABEL_PLACE } from '../engine/align/retrieval.ts';
import { noDeployment, wrongKind } from '../errors.ts';
import { readRows, requireClean } from './training-data.ts';

const DEFAULT_MAX_TOKENS = 128;
/** Metrics of answers; the others are those of a CLIP. */
const OF_CLIP = /_recall_at_|^zero_shot_/;

/** What is measured of a model that answers, references resolved. */
export async function resolveEvaluation(
  service: TrainerContext,
  asked: EvaluationConfig | undefined,
  base: Version,
  kind: Kind,
  options: CallOptions,
  standIn: string,
): Promise<EvaluationConfig> {
  const { registry, replicas } = service;
  const field = 'spec.evaluation';
  if (asked && asked.classTemplates.length > 0)
    throw invalidArgument(`${field}.class_templates`, 'are for CLIP models; this one answers');
  const measures = asked && (asked.dataset || asked.safety || asked.earlierDatasets.length > 0);
  if (!asked || !measures) {
    if (asked && asked.gates.length > 0)
      throw invalidArgument(
        `${field}.gates`,
        'need something to measure: give dataset, safety or earlier_datasets',
      );
    return create(EvaluationConfigSchema);
  }
  const set = async (ref: string, name: string) => {
    if (ref === '') return '';
    const version = await registry.ready(ref, Kind.DATASET, `${field}.${name}`, options);
    // A set that the validation rows are yet to be split off was looked at already.
    if (version.ref !== standIn) requireClean(version.ref, await readRows(registry, version, false, options));
    return version.ref;
  };
  const dataset = await set(asked.dataset, 'dataset');
  const earlierDatasets: string[] = [];
  for (const [i, ref] of asked.earlierDatasets.entries())
    earlierDatasets.push(await set(ref, `earlier_datasets[${i}]`));
  const safety = asked.safetyDataset;
  const safetyDataset =
    safety === '' ? '' : (await registry.ready(safety, Kind.DATASET, `${field}.safety_dataset`, options)).ref;
  // A model of its own is deployed for as long as it is measured; an adapter needs its base.
  const needsBase = kind === Kind.ADAPTER || asked.includeBase || earlierDatasets.length > 0;
  if (needsBase && !(await replicas.serves(base.ref, options))) throw noDeployment(base.ref);
  let judgeModel = '';
  if (asked.judgeModel !== '') {
    const judge = await registry.version(asked.judgeModel, `${field}.judge_model`, options);
    if (judge.kind === Kind.DATASET) throw wrongKind(judge.ref, 'a data set', 'a model');
    judgeModel = judge.ref;
    const served = judge.kind === Kind.BASE ? judge.ref : (judge.lineage?.base ?? judge.ref);
    if (!(await replicas.serves(served, options))) throw noDeployment(served);
  }
  requireMeasured(asked);
  return create(EvaluationConfigSchema, {
    ...asked,
    dataset,
    earlierDatasets,
    safetyDataset,
    judgeModel,
    maxTokens: asked.maxTokens || DEFAULT_MAX_TOKENS,
  });
}

/** A gate on what is not measured could not be passed. */
function requireMeasured({ gates, dataset, safety, earlierDatasets, judgeModel }: EvaluationConfig): void {
  for (const [i, { metric }] of gates.entries()) {
    if (OF_CLIP.test(metric))
      throw invalidArgument(`spec.evaluation.gates[${i}].metric`, `${metric} is measured of CLIP models`);
    const needs = metric.startsWith('safety_')
      ? !safety && 'safety'
      : metric === 'backward_transfer'
        ? earlierDatasets.length === 0 && 'earlier_datasets'
        : metric === 'judge'
          ? judgeModel === '' && 'judge_model'
          : dataset === '' && 'dataset';
    if (needs)
      throw invalidArgument(`spec.evaluation.gates[${i}].metric`, `${metric} is measured only with ${needs}`);
  }
}

/**
 * What is measured of a CLIP: how images and captions of held-out pairs find one another.
 * @throws LandfallError INVALID_ARGUMENT for what only models that answer are asked
 */
export async function resolveRetrieval(
  { registry }: TrainerContext,
  asked: EvaluationConfig | undefined,
  options: CallOptions,
  field = 'spec.evaluation',
): Promise<EvaluationConfig> {
  if (!asked) return create(EvaluationConfigSchema);
  const { dataset, classTemplates, gates } = asked;
  for (const [name, isSet] of Object.entries({
    max_tokens: asked.maxTokens > 0,
    earlier_datasets: asked.earlierDatasets.length > 0,
    safety: asked.safety,
    safety_dataset: asked.safetyDataset !== '',
    judge_model: asked.judgeModel !== '',
  }))
    if (isSet) throw invalidArgument(`${field}.${name}`, 'is for models that answer; a CLIP gives vectors');
  for (const [i, template] of classTemplates.entries())
    if (!template.includes(LABEL_PLACE))
      throw invalidArgument(`${field}.class_templates[${i}]`, `has no ${LABEL_PLACE}`);
  for (const [i, { metric }] of gates.entries()) {
    if (!OF_CLIP.test(metric))
      throw invalidArgument(`${field}.gates[${i}].metric`, `${metric} is measured of models that answer`);
    if (dataset === '')
      throw invalidArgument(`${field}.gates[${i}].metric`, `${metric} is measured only with dataset`);
  }
  if (dataset === '') return create(EvaluationConfigSchema);
  const version = await registry.ready(dataset, Kind.DATASET, `${field}.dataset`, options);
  const rows = await readRows(registry, version, false, options);
  requireClean(version.ref, rows);
  const other = rows.examples.find(({ pair }) => !pair);
  if (other) throw failedPrecondition(`${version.ref}: row ${other.row} is no image with its caption`);
  if (!someApart(rows.examples.map(keysOf)))
    throw failedPrecondition(`${version.ref}: no two rows differ in image, caption and label`);
  const zeroShot = gates.findIndex(({ metric }) => metric.startsWith('zero_shot'));
  if (zeroShot >= 0 && !rows.examples.some(({ pair }) => pair!.label !== ''))
    throw invalidArgument(`${field}.gates[${zeroShot}].metric`, 'needs rows with a label');
  return create(EvaluationConfigSchema, {
    ...asked,
    dataset: version.ref,
    classTemplates: classTemplates.length > 0 ? classTemplates : [...DEFAULT_CLASS_TEMPLATES],
  });
}
