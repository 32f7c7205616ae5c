import { create } from '@bufbuild/protobuf';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import { once } from '@landfall/common/db/idempotency.ts';
import { failedPrecondition } from '@landfall/common/errors/errors.ts';
import {
  ExperimentSchema,
  ExperimentState as State,
} from '@landfall/proto/landfall/prompt/v1/experiment_pb.js';
import {
  StartExperimentRequestSchema,
  StartExperimentResponseSchema,
} from '@landfall/proto/landfall/prompt/v1/experiment_service_pb.js';
import { v7 as uuidv7 } from 'uuid';
import type { ExperimentRoute } from '../../context.ts';
import { VersionSchema } from '../../db/entities.ts';
import { ExperimentSchema as ExperimentRows } from '../../db/experiment-entities.ts';
import { emptyTallies } from '../../domain/experiment.ts';
import { checkExperiment } from '../../domain/experiment-check.ts';
import { endMoved } from '../../domain/experiment-split.ts';
import { experimentReply, insertExperiment } from '../../domain/experiments.ts';
import { findVersion } from '../../domain/find.ts';
import { requireRight } from '../../domain/rights.ts';
import { versionNotFound } from '../../errors.ts';

const MAX_INVOCATIONS = 100_000n;
const ALPHA = 0.05;

export const startExperiment: ExperimentRoute<'startExperiment'> =
  ({ database }) =>
  (request, { identity }) => {
    checkExperiment(request);
    const { tenant, subject } = identity;
    const { name, label, requestId, arms } = request;
    const call = {
      tenant,
      method: 'landfall.prompt.v1.PromptExperimentService/StartExperiment',
      requestId,
      input: StartExperimentRequestSchema,
      output: StartExperimentResponseSchema,
    };
    return database.transaction(async (em) => {
      await requireRight(em, identity, name, 'editor');
      return once(em, call, request, async () => {
        const { version } = await findVersion(em, tenant, name, `@${label}`);
        if (version.version !== arms[0]!.version) {
          throw failedPrecondition(
            `the label ${label} points to ${version.version}: name that version first, it is what the others are compared with`,
          );
        }
        for (const arm of arms) {
          if (!(await em.findOne(VersionSchema, { tenant, name, version: arm.version })))
            throw versionNotFound(name, arm.version);
        }
        await endMoved(em, { tenant, name, label, version: version.version });
        const running = await em.findOne(ExperimentRows, { tenant, name, label, running: true });
        if (running) {
          throw failedPrecondition(
            `the experiment ${running.id} runs on the label ${label}: promote or return it first`,
            { reason: 'EXPERIMENT_RUNNING', metadata: { experiment: running.id } },
          );
        }
        const now = timestampFromMs(Date.now());
        const { hypothesis, goal, guards, oncePerSubject } = request;
        const experiment = create(ExperimentSchema, {
          ...{ id: uuidv7(), name, label, hypothesis, oncePerSubject, goal: goal!, guards },
          arms: arms.map((arm) => ({ version: arm.version, weight: arm.weight })),
          alpha: request.alpha || ALPHA,
          maxInvocations: request.maxInvocations || MAX_INVOCATIONS,
          ...{ state: State.RUNNING, author: subject, createTime: now, changeTime: now, revision: 1n },
        });
        const started = { experiment, tallies: emptyTallies(experiment) };
        await insertExperiment(em, tenant, started);
        return create(StartExperimentResponseSchema, { experiment: experimentReply(started) });
      });
    });
  };
