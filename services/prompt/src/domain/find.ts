import type { EntityManager } from '@landfall/common/db/database.ts';
import { LabelSchema, type PromptRow, PromptSchema, type VersionRow, VersionSchema } from '../db/entities.ts';
import { promptNotFound, versionNotFound } from '../errors.ts';

export async function findPrompt(em: EntityManager, tenant: string, name: string): Promise<PromptRow> {
  const prompt = await em.findOne(PromptSchema, { tenant, name });
  if (!prompt) throw promptNotFound(name);
  return prompt;
}

/** A version by SemVer, by `@label`, or the newest for ''. Tells the label it was asked by. */
export async function findVersion(
  em: EntityManager,
  tenant: string,
  name: string,
  asked: string,
): Promise<{ prompt: PromptRow; version: VersionRow; label: string }> {
  const prompt = await findPrompt(em, tenant, name);
  const label = asked.startsWith('@') ? asked.slice(1) : '';
  let wanted = asked || prompt.latestVersion;
  if (label) {
    const pointer = await em.findOne(LabelSchema, { tenant, name, label });
    if (!pointer) throw versionNotFound(name, asked);
    wanted = pointer.version;
  }
  const version = await em.findOne(VersionSchema, { tenant, name, version: wanted });
  if (!version) throw versionNotFound(name, asked);
  return { prompt, version, label };
}
