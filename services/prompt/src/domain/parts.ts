import type { Variable } from '@landfall/proto/landfall/prompt/v1/prompt_pb.js';
import type { PromptDraft } from '@landfall/proto/landfall/prompt/v1/prompt_service_pb.js';
import { readTemplate } from './read-template.ts';

/** Another prompt that a template puts in. */
export interface Part {
  name: string;
  /** The version that its reference means now. */
  version: string;
  draft: PromptDraft;
}

/** Other prompts by the references that name them; those of parts too. */
export type Parts = ReadonlyMap<string, Part>;
export const NO_PARTS: Parts = new Map();

/** References in a draft's turns, each once, in order. */
export const referencesOf = ({ messages, format }: PromptDraft): string[] => [
  ...new Set(
    messages.flatMap(
      ({ template }, i) => readTemplate(format, template, `draft.messages[${i}].template`).parts,
    ),
  ),
];

/** A draft's variables and those that its parts bring: of one name, the draft's own counts. */
export function allVariables(draft: PromptDraft, parts: Parts): readonly Variable[] {
  if (parts.size === 0) return draft.variables;
  const known = new Map(draft.variables.map((variable) => [variable.name, variable]));
  for (const { draft: part } of parts.values()) {
    for (const variable of part.variables) if (!known.has(variable.name)) known.set(variable.name, variable);
  }
  return [...known.values()];
}
