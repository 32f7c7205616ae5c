import type { EntityManager } from '@landfall/common/db/database.ts';
import { failedPrecondition } from '@landfall/common/errors/errors.ts';
import type { PromptRow, VersionRow } from '../db/entities.ts';
import { judgeGate, readGates } from '../evaluation/gates.ts';

/** What a version must have shown before a protected label may point at it. */
export interface Gate {
  name: string;
  /** @returns what is missing, for people; undefined where it passes */
  check(em: EntityManager, version: VersionRow): Promise<string | undefined>;
}

/** The gates of a protected label of a prompt; none where none were set. They look at evaluations that have ended. */
export async function gatesOf(
  em: EntityManager,
  tenant: string,
  name: string,
  label: string,
): Promise<readonly Gate[]> {
  const where = { tenant, name, label };
  const gates = await readGates(em, where);
  return gates.map((gate) => ({
    name: `${gate.metric} on ${gate.testSet}`,
    check: async (now, { version }) => (await judgeGate(now, where, gate, version)).message || undefined,
  }));
}

/** @throws LandfallError FAILED_PRECONDITION that names every gate which does not let the version pass */
export async function passGates(
  em: EntityManager,
  { tenant, name }: PromptRow,
  label: string,
  version: VersionRow,
): Promise<void> {
  const missing: string[] = [];
  for (const gate of await gatesOf(em, tenant, name, label)) {
    const found = await gate.check(em, version);
    if (found) missing.push(`${gate.name}: ${found}`);
  }
  if (missing.length > 0) {
    throw failedPrecondition(
      `'${label}' of prompts/${name} takes no version ${version.version}: ${missing.join('; ')}`,
      { reason: 'GATE_NOT_PASSED' },
    );
  }
}
