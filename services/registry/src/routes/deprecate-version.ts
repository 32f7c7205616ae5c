import { create } from '@bufbuild/protobuf';
import { timestampMs } from '@bufbuild/protobuf/wkt';
import {
  DeprecateVersionRequestSchema,
  DeprecateVersionResponseSchema,
} from '@landfall/proto/landfall/registry/v1/life_cycle_service_pb.js';
import type { LifeRoute } from '../context.ts';
import { announceChange } from '../domain/events.ts';
import { lockReady } from '../domain/find.ts';
import { answerOnce, requestKey } from '../domain/idempotency.ts';
import { versionReply } from '../domain/replies.ts';
import { readText } from '../domain/requests.ts';
import { deprecate } from '../domain/stages.ts';

export const deprecateVersion: LifeRoute<'deprecateVersion'> =
  ({ config, database }) =>
  async (request, { identity: { tenant, subject } }) => {
    const { name, version, sunsetTime, successor } = request;
    const sunsetMs = sunsetTime ? timestampMs(sunsetTime) : null;
    const reason = readText('reason', request.reason);
    const key = requestKey(tenant, DeprecateVersionRequestSchema, request);
    return answerOnce(database, key, DeprecateVersionResponseSchema, async (em) => {
      const found = await lockReady(em, tenant, name, version);
      if (await deprecate(em, found.version, { sunsetMs, reason, successor })) {
        const author = { source: config.name, actor: subject };
        await announceChange(em, author, found.model, found.version, 'deprecated', { detail: reason });
      }
      return create(DeprecateVersionResponseSchema, { version: await versionReply(em, found.version) });
    });
  };
