import { create } from '@bufbuild/protobuf';
import type { EntityManager } from '@landfall/common/db/database.ts';
import type { Optimization } from '@landfall/proto/landfall/prompt/v1/optimization_pb.js';
import { PromptDraftSchema } from '@landfall/proto/landfall/prompt/v1/prompt_service_pb.js';
import { findPrompt } from '../domain/find.ts';
import { addVersion } from '../domain/versions.ts';
import type { Candidate } from './search.ts';

/** The version that an optimisation began with. */
export interface Origin {
  tenant: string;
  name: string;
  from: string;
  author: string;
}

/** What came of the search, for people. */
export function conclusionOf(
  optimization: Optimization,
  best: Candidate,
  why: string,
  isBetter: boolean,
): string {
  const { heldOut, developmentRows, firstDevelopment, bestDevelopment, calls, tries } = optimization;
  const { metric, first, second, rows } = heldOut!;
  const spent = `${tries} tries with ${calls} answers; ${why}.`;
  const development =
    `On the ${developmentRows} development rows ${metric} went from ${figure(firstDevelopment)} to ` +
    `${figure(bestDevelopment)}`;
  if (best.number === 0) return `Nothing better was found on the development rows: ${spent}`;
  if (!isBetter) {
    return `${development}, but on ${rows} held-out rows from ${figure(first)} to ${figure(second)}: no version was made. ${spent}`;
  }
  return `${gain(optimization)} ${development}. ${spent}`;
}

/** `exact_match on 60 held-out rows went from 0.23 to 1 (difference 0.77, 95 % interval 0.67 to 0.87).` */
function gain({ heldOut }: Optimization): string {
  const { metric, first, second, difference, low, high, rows } = heldOut!;
  return (
    `${metric} on ${rows} held-out rows went from ${figure(first)} to ${figure(second)} (difference ` +
    `${figure(difference)}, 95 % interval ${figure(low)} to ${figure(high)}).`
  );
}

/** Makes the best try a version, in the transaction that ends the job. @returns its number */
export async function versionOf(
  em: EntityManager,
  { tenant, name, from, author }: Origin,
  optimization: Optimization,
  { draft, reason, number }: Candidate,
): Promise<string> {
  const changeLog = `Optimised from ${from} (try ${number}: ${reason}). ${gain(optimization)}`.slice(0, 4000);
  const prompt = await findPrompt(em, tenant, name);
  const content = create(PromptDraftSchema, { ...draft, changeLog });
  const { version } = await addVersion(em, prompt, { number: '', draft: content, author });
  await em.flush();
  return version.version;
}

const figure = (value: number) => String(Number(value.toPrecision(4)));
