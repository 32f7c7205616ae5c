import { create } from '@bufbuild/protobuf';
import {
  RecordCheckRequestSchema,
  RecordCheckResponseSchema,
} from '@landfall/proto/landfall/registry/v1/life_cycle_service_pb.js';
import type { LifeRoute } from '../context.ts';
import { recordCheck as addCheck, checkReply } from '../domain/checks.ts';
import { announceChange } from '../domain/events.ts';
import { lockReady } from '../domain/find.ts';
import { answerOnce, requestKey } from '../domain/idempotency.ts';
import { readText } from '../domain/requests.ts';

export const recordCheck: LifeRoute<'recordCheck'> =
  ({ config, database }) =>
  async (request, { identity: { tenant, subject } }) => {
    const { name, version, check, passed } = request;
    const detail = readText('detail', request.detail);
    const evidence = readText('evidence', request.evidence);
    const key = requestKey(tenant, RecordCheckRequestSchema, request);
    return answerOnce(database, key, RecordCheckResponseSchema, async (em) => {
      const found = await lockReady(em, tenant, name, version);
      const row = await addCheck(em, found.version, { check, passed, detail, evidence }, subject);
      const author = { source: config.name, actor: subject };
      const outcome = `${check} ${passed ? 'passed' : 'failed'}${detail && `: ${detail}`}`;
      await announceChange(em, author, found.model, found.version, 'checked', { detail: outcome });
      return create(RecordCheckResponseSchema, { check: checkReply(row) });
    });
  };
