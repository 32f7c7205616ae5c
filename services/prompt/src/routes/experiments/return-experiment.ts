import { create } from '@bufbuild/protobuf';
import { once } from '@landfall/common/db/idempotency.ts';
import {
  ReturnExperimentRequestSchema,
  ReturnExperimentResponseSchema,
} from '@landfall/proto/landfall/prompt/v1/experiment_service_pb.js';
import type { ExperimentRoute } from '../../context.ts';
import {
  changeExperiment,
  endExperiment,
  experimentReply,
  findExperiment,
} from '../../domain/experiments.ts';
import { requireRight } from '../../domain/rights.ts';

export const returnExperiment: ExperimentRoute<'returnExperiment'> =
  ({ database }) =>
  (request, { identity }) => {
    const { tenant, subject } = identity;
    const { id, reason, requestId } = request;
    const call = {
      tenant,
      method: 'landfall.prompt.v1.PromptExperimentService/ReturnExperiment',
      requestId,
      input: ReturnExperimentRequestSchema,
      output: ReturnExperimentResponseSchema,
    };
    return database.transaction(async (em) => {
      const { name } = await findExperiment(em, tenant, id);
      await requireRight(em, identity, name, 'editor');
      return once(em, call, request, async () => {
        const why = reason ? `: ${reason}` : '';
        const ended = await changeExperiment(em, { id, tenant }, (running) =>
          endExperiment(running, `${subject} returned it${why}`),
        );
        return create(ReturnExperimentResponseSchema, { experiment: experimentReply(ended!) });
      });
    });
  };
