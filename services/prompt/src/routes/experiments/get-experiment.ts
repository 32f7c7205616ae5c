import type { ExperimentRoute } from '../../context.ts';
import { settled } from '../../domain/experiment-split.ts';
import { experimentReply, findExperiment, readExperiment } from '../../domain/experiments.ts';
import { requireRight } from '../../domain/rights.ts';

export const getExperiment: ExperimentRoute<'getExperiment'> =
  ({ database, log }) =>
  async ({ id }, { identity }) => {
    // Whoever has seen the end of an answer finds it counted. Where the log can't be written, what is there is shown.
    await log.settled().catch(() => {});
    const row = await database.read(async (em) => {
      const found = await findExperiment(em, identity.tenant, id);
      await requireRight(em, identity, found.name, 'viewer');
      return found;
    });
    return { experiment: experimentReply(readExperiment(await settled(database, row))) };
  };
