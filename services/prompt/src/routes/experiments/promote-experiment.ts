import { create } from '@bufbuild/protobuf';
import { failedPrecondition, invalidArgument } from '@landfall/common/errors/errors.ts';
import { ExperimentState as State } from '@landfall/proto/landfall/prompt/v1/experiment_pb.js';
import { SetLabelRequestSchema } from '@landfall/proto/landfall/prompt/v1/prompt_service_pb.js';
import type { ExperimentRoute } from '../../context.ts';
import { settled } from '../../domain/experiment-split.ts';
import { experimentReply, findExperiment, readExperiment } from '../../domain/experiments.ts';
import { requireRight } from '../../domain/rights.ts';
import { setLabel } from '../set-label.ts';

/**
 * The label moves as by SetLabel, with all of its rules; that ends the experiment, here or, where the label is moved in
 * another way (an approval), at its next look. Safe to repeat: one that is promoted stays so.
 */
export const promoteExperiment: ExperimentRoute<'promoteExperiment'> =
  (context) =>
  async ({ id, version: asked }, call) => {
    const { database } = context;
    const { tenant } = call.identity;
    const row = await database.read(async (em) => {
      const found = await findExperiment(em, tenant, id);
      await requireRight(em, call.identity, found.name, 'editor');
      return found;
    });
    const known = readExperiment(await settled(database, row));
    const { state, winner, arms, name, label, reason } = known.experiment;
    const version = asked || winner;
    if (state === State.PROMOTED && version === winner) return { experiment: experimentReply(known) };
    if (state !== State.RUNNING && state !== State.WON)
      throw failedPrecondition(`the experiment has ended: ${reason}`);
    if (version === '') {
      throw failedPrecondition('the experiment has no winner yet: name the version, or wait for one', {
        reason: 'NO_WINNER',
      });
    }
    if (!arms.some((arm) => arm.version === version)) {
      const versions = arms.map((arm) => arm.version).join(', ');
      throw invalidArgument('version', `must be one of the experiment's, ${versions}`);
    }
    if (version === arms[0]!.version) {
      throw invalidArgument(
        'version',
        `the label points to ${version} already; ReturnExperiment ends the experiment`,
      );
    }
    await setLabel(context)(create(SetLabelRequestSchema, { name, label, version }), call);
    const ended = await database.read((em) => findExperiment(em, tenant, id));
    return { experiment: experimentReply(readExperiment(await settled(database, ended))) };
  };
