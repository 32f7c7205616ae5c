import { create } from '@bufbuild/protobuf';
import { durationMs } from '@bufbuild/protobuf/wkt';
import { once } from '@landfall/common/db/idempotency.ts';
import { failedPrecondition, notFound } from '@landfall/common/errors/errors.ts';
import {
  type RotateKeyRequest,
  RotateKeyRequestSchema,
  type RotateKeyResponse,
  RotateKeyResponseSchema,
} from '@landfall/proto/landfall/gateway/v1/admin_service_pb.js';
import { requireRolesWithin, requireScopesWithin } from '../access/within.ts';
import type { OwnRoute } from '../context.ts';
import { ApiKeySchema } from '../db/entities.ts';
import { namesOf } from '../db/identity-entities.ts';
import { audit } from '../domain/audit.ts';
import { keyReply } from '../domain/key-reply.ts';
import { groupsOf, rolesOf } from '../keys/key-store.ts';

const METHOD = 'landfall.gateway.v1.AdminService/RotateKey';
const DAY_MS = 86_400_000;

const rotatedBefore = () =>
  failedPrecondition('the key was rotated before; rotate its successor, which ListKeys names');

export const rotateKey: OwnRoute<RotateKeyRequest, RotateKeyResponse> =
  ({ database, callers, keys }) =>
  async (request, caller) => {
    const { tenant } = caller;
    const { id, overlap } = request;
    const call = {
      ...{ tenant, method: METHOD, requestId: request.requestId },
      ...{ input: RotateKeyRequestSchema, output: RotateKeyResponseSchema },
    };
    let fresh = '';
    const reply = await database.transaction((em) =>
      once(em, call, request, async () => {
        const old = await em.findOne(ApiKeySchema, { id, tenant });
        if (!old) throw notFound('no key with this id');
        const now = Date.now();
        const hasEnded = old.revokedMs != null || (old.expiresMs != null && old.expiresMs <= now);
        if (hasEnded) throw failedPrecondition('the key has ended; CreateKey makes a new one');
        if (old.successorId !== '') throw rotatedBefore();
        // Who rotates a key holds its successor's secret.
        requireRolesWithin(caller, rolesOf(old), 'roles');
        requireScopesWithin(caller, namesOf(old.scopes));
        const { key, secret } = await keys.make(em, {
          ...{ tenant, name: old.name, role: old.role, expiresMs: old.expiresMs ?? null, owner: old.owner },
          ...{ roles: namesOf(old.roles), scopes: namesOf(old.scopes), groups: groupsOf(old) },
        });
        const most = old.expiresMs ?? Number.POSITIVE_INFINITY;
        const expiresMs = Math.min(most, now + (overlap ? durationMs(overlap) : DAY_MS));
        const change = { successorId: key.id, expiresMs };
        // Of two that rotate it at once, one finds it rotated.
        const changed = await em.nativeUpdate(ApiKeySchema, { id, successorId: '' }, change);
        if (changed === 0) throw rotatedBefore();
        await audit(em, caller, METHOD, `keys/${id}`);
        fresh = secret;
        return create(RotateKeyResponseSchema, {
          key: keyReply(key),
          replaced: keyReply({ ...old, ...change }),
        });
      }),
    );
    callers.forget();
    reply.secret = fresh;
    return reply;
  };
