import type { Database } from '@landfall/common/db/database.ts';
import type { Logger } from '@landfall/common/log/logger.ts';
import { duePurges, purgeVersion } from './deletion.ts';
import { announceChange } from './events.ts';
import { lockModel, lockVersion } from './find.ts';
import { formatReference } from './reference.ts';

/** How many versions one round purges; the next goes on. */
const MAX_PURGES = 100;

/**
 * Purges deleted versions whose time to be restored is over, each in its own transaction with its event. Their
 * content goes with the next collection, unless another version holds it too. Returns how many were purged.
 */
export async function purgeDue(database: Database, source: string, logger: Logger): Promise<number> {
  const due = await database.read((em) => duePurges(em, MAX_PURGES));
  let purged = 0;
  for (const { id, tenant, name, version } of due) {
    const done = await database.transaction(async (em) => {
      const model = await lockModel(em, tenant, name);
      const locked = await lockVersion(em, id);
      if (!(await purgeVersion(em, locked))) return false;
      await announceChange(em, { source, actor: `service:${source}` }, model, locked, 'purged');
      return true;
    });
    if (done) purged++;
    else
      logger.warn({ tenant, version: formatReference(name, version) }, 'a deleted version is still in use');
  }
  return purged;
}
