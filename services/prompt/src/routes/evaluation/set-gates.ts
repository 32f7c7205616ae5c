import { create } from '@bufbuild/protobuf';
import { once } from '@landfall/common/db/idempotency.ts';
import { invalidArgument } from '@landfall/common/errors/errors.ts';
import type { EvaluationGate } from '@landfall/proto/landfall/prompt/v1/evaluation_pb.js';
import {
  SetGatesRequestSchema,
  SetGatesResponseSchema,
} from '@landfall/proto/landfall/prompt/v1/evaluation_service_pb.js';
import type { EvaluationRoute } from '../../context.ts';
import { accessChanged, lockAccess } from '../../domain/access-changes.ts';
import { onRecord } from '../../domain/audit.ts';
import { requireRight } from '../../domain/rights.ts';
import { promptTarget } from '../../domain/targets.ts';
import { readGates, writeGates } from '../../evaluation/gates.ts';

export const setGates: EvaluationRoute<'setGates'> =
  (context) =>
  async (request, { identity }) => {
    const { tenant, subject } = identity;
    const { name, label, gates, requestId } = request;
    const repeatable = {
      ...{ tenant, requestId },
      method: 'landfall.prompt.v1.PromptEvaluationService/SetGates',
      input: SetGatesRequestSchema,
      output: SetGatesResponseSchema,
    };
    for (const [i, { minimum, maxDrop }] of gates.entries()) {
      if (minimum === undefined && maxDrop === undefined) {
        throw invalidArgument(`gates[${i}]`, 'asks for nothing: give minimum, max_drop or both');
      }
    }
    const target = promptTarget(name);
    const change = { tenant, subject, action: 'gates.set', target, item: label, after: described(gates) };
    return onRecord(context, change, async (em) => {
      await requireRight(em, identity, name, 'owner');
      return once(em, repeatable, request, async () => {
        const where = { tenant, name, label };
        const access = await lockAccess(em, tenant, target);
        const before = described(await readGates(em, where));
        await writeGates(em, where, gates);
        if (before !== change.after) await accessChanged(em, access, { ...change, before });
        return create(SetGatesResponseSchema, { gates });
      });
    });
  };

/** For the record. */
const described = (gates: readonly EvaluationGate[]): string =>
  gates
    .map(({ metric, testSet, minimum, maxDrop }) =>
      [
        `${metric} on ${testSet}`,
        ...(minimum === undefined ? [] : [`at least ${minimum}`]),
        ...(maxDrop === undefined ? [] : [`at most ${maxDrop} below the holder`]),
      ].join(', '),
    )
    .join('; ');
