import { create, fromJson, type JsonValue, toJson } from '@bufbuild/protobuf';
import type { EntityManager } from '@landfall/common/db/database.ts';
import {
  type EvaluationGate,
  EvaluationGateSchema,
  type GateVerdict,
  GateVerdictSchema,
} from '@landfall/proto/landfall/prompt/v1/evaluation_pb.js';
import { LabelSchema } from '../db/entities.ts';
import { JobEntity, type JobRow, LabelGateEntity } from '../db/evaluation-entities.ts';
import { findTestSet, parseTestSetRef } from '../test-sets/store.ts';
import { difference } from './compare.ts';
import { evaluationReply } from './evaluation-reply.ts';
import { answersOf, testsOf } from './evaluation-rows.ts';
import { metricName } from './metrics.ts';

const RESAMPLES = 1000;
/** Evaluations of one version that are looked through for one with the metric and the deployment, newest first. */
const LOOKED_AT = 50;

/** What a label demands. */
export interface LabelledPrompt {
  tenant: string;
  name: string;
  label: string;
}

export async function readGates(em: EntityManager, where: LabelledPrompt): Promise<EvaluationGate[]> {
  const row = await em.findOne(LabelGateEntity, where);
  if (!row) return [];
  return (JSON.parse(row.gates) as JsonValue[]).map((gate) => fromJson(EvaluationGateSchema, gate));
}

export async function writeGates(
  em: EntityManager,
  where: LabelledPrompt,
  gates: readonly EvaluationGate[],
): Promise<void> {
  const text = JSON.stringify(gates.map((gate) => toJson(EvaluationGateSchema, gate)));
  if (gates.length === 0) await em.nativeDelete(LabelGateEntity, where);
  else await em.upsert(LabelGateEntity, { ...where, gates: text });
}

/** Whether a version passes each gate of a label, from evaluations that have ended well. Asks no model. */
export async function judgeGates(
  em: EntityManager,
  where: LabelledPrompt,
  version: string,
): Promise<GateVerdict[]> {
  const verdicts: GateVerdict[] = [];
  for (const gate of await readGates(em, where)) {
    verdicts.push(await judgeGate(em, where, gate, version));
  }
  return verdicts;
}

/** What an evaluation says about a gate's metric. */
interface Found {
  job: JobRow;
  place: number;
  value: number;
}

export async function judgeGate(
  em: EntityManager,
  where: LabelledPrompt,
  gate: EvaluationGate,
  version: string,
): Promise<GateVerdict> {
  const holder = (await em.findOne(LabelSchema, where))?.version ?? '';
  const { metric, minimum, maxDrop } = gate;
  const verdict = (message: string, found?: Found, held?: Found): GateVerdict =>
    create(GateVerdictSchema, {
      ...{ gate, passed: message === '', message },
      ...(found ? { value: found.value, evaluationId: found.job.id } : {}),
      ...(held ? { holderValue: held.value } : {}),
    });
  const named = parseTestSetRef(gate.testSet)!;
  const set = await findTestSet(em, where.tenant, named.name, named.version).catch(() => undefined);
  if (!set) return verdict(`${metric}: there is no test set ${gate.testSet}`);
  const found = await measured(em, where, gate, version, set.digest);
  const on = `on ${named.name} ${set.version}${gate.deployment ? ` by ${gate.deployment}` : ''}`;
  if (!found) {
    return verdict(
      `${metric} of ${version} has not been measured ${on}; run EvaluatePrompt on this set first`,
    );
  }
  if (minimum !== undefined && found.value < minimum) {
    return verdict(
      `${metric} ${on} is ${figure(found.value)}; at least ${figure(minimum)} is asked for`,
      found,
    );
  }
  if (maxDrop === undefined || holder === '' || holder === version) return verdict('', found);
  const held = await measured(em, where, gate, holder, set.digest);
  if (!held) {
    return verdict(
      `${metric} of ${holder}, which holds ${where.label} now, has not been measured ${on}; run EvaluatePrompt first`,
      found,
    );
  }
  const change = gate.withConfidence ? await lowerEnd(em, metric, held, found) : found.value - held.value;
  if (change >= -maxDrop) return verdict('', found, held);
  const what = gate.withConfidence
    ? 'the lower end of the 95 % interval of the difference'
    : 'the difference';
  return verdict(
    `${metric} ${on} is ${figure(found.value)}, of ${holder} ${figure(held.value)}: ${what} is ${figure(change)}, and a ` +
      `drop of at most ${figure(maxDrop)} is allowed`,
    found,
    held,
  );
}

/** The newest evaluation of a version on these rows that has the metric, by the gate's deployment. */
async function measured(
  em: EntityManager,
  { tenant, name }: LabelledPrompt,
  { metric, deployment }: EvaluationGate,
  version: string,
  testSetDigest: string,
): Promise<Found | undefined> {
  const jobs = await em.find(
    JobEntity,
    { tenant, kind: 'evaluation', name, version, state: 'succeeded', testSetDigest },
    { orderBy: { id: 'desc' }, limit: LOOKED_AT },
  );
  for (const job of jobs) {
    const { results } = evaluationReply(job);
    const place = results.findIndex(
      (one) => metric in one.metrics && (!deployment || one.deployment === deployment),
    );
    if (place >= 0) return { job, place, value: results[place]!.metrics[metric]! };
  }
  return undefined;
}

async function lowerEnd(em: EntityManager, name: string, held: Found, found: Found): Promise<number> {
  const side = async ({ job, place }: Found) => ({
    tests: await testsOf(em, job),
    answers: await answersOf(em, job.id, place),
  });
  const metric = evaluationReply(found.job).metrics.find((one) => metricName(one) === name)!;
  return difference(metric, await side(held), await side(found), RESAMPLES, 0n).low;
}

const figure = (value: number) => String(Number(value.toPrecision(4)));
