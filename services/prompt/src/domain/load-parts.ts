import type { EntityManager } from '@landfall/common/db/database.ts';
import { failedPrecondition } from '@landfall/common/errors/errors.ts';
import type { PromptDraft } from '@landfall/proto/landfall/prompt/v1/prompt_service_pb.js';
import type { VersionRow } from '../db/entities.ts';
import { cachedDraft } from './draft-cache.ts';
import { findVersion } from './find.ts';
import { NO_PARTS, type Part, type Parts, referencesOf } from './parts.ts';
import { REFERENCE } from './template.ts';

/** A draft with the prompts that it puts in. */
export interface Contents {
  readonly draft: PromptDraft;
  readonly parts: Parts;
}

/** What a version holds, with the prompts that it puts in. Shared: nobody may change it. @throws as `loadParts` */
export async function loadContents(em: EntityManager, version: VersionRow): Promise<Contents> {
  const draft = cachedDraft(version.content);
  return { draft, parts: await loadParts(em, version.tenant, version.name, draft) };
}

/** Prompts within prompts within prompts. */
const DEEPEST = 8;
const MOST_PARTS = 64;

/**
 * Reads the prompts that a draft puts in, at the versions that its references mean now.
 *
 * @param name of the draft's own prompt
 * @throws LandfallError NOT_FOUND for a prompt, label or version that is not there; FAILED_PRECONDITION for a circle (named
 *   as `a → b → a`), more than 8 prompts in one another or 64 together, and a part with more than one turn
 */
export async function loadParts(
  em: EntityManager,
  tenant: string,
  name: string,
  draft: PromptDraft,
): Promise<Parts> {
  const references = referencesOf(draft);
  if (references.length === 0) return NO_PARTS;
  const parts = new Map<string, Part>();
  const depths = new Map<string, number>();
  const visit = async (list: readonly string[], path: readonly string[]): Promise<number> => {
    let deepest = 0;
    for (const reference of list) {
      let depth = depths.get(reference);
      if (depth === undefined) {
        const part = await readPart(em, tenant, reference, path);
        parts.set(reference, part);
        if (parts.size > MOST_PARTS)
          throw failedPrecondition(`'${name}' puts more than ${MOST_PARTS} prompts in`);
        depth = 1 + (await visit(referencesOf(part.draft), [...path, part.name]));
        depths.set(reference, depth);
      }
      deepest = Math.max(deepest, depth);
    }
    if (path.length + deepest > DEEPEST + 1)
      throw failedPrecondition(
        `'${name}' puts prompts into one another more than ${DEEPEST} deep: ${path.join(' → ')}`,
      );
    return deepest;
  };
  await visit(references, [name]);
  return parts;
}

async function readPart(
  em: EntityManager,
  tenant: string,
  reference: string,
  path: readonly string[],
): Promise<Part> {
  const [, name, place] = REFERENCE.exec(reference)!;
  if (path.includes(name!))
    throw failedPrecondition(`prompts are put into one another in a circle: ${[...path, name].join(' → ')}`, {
      reason: 'PROMPT_CIRCLE',
    });
  const { version } = await findVersion(em, tenant, name!, place!.replace(/^\//, ''));
  const draft = cachedDraft(version.content);
  if (draft.messages.length !== 1)
    throw failedPrecondition(
      `'${reference}' has ${draft.messages.length} turns: only prompts of one turn can be put into others`,
    );
  return { name: name!, version: version.version, draft };
}
