import { create } from '@bufbuild/protobuf';
import { once } from '@landfall/common/db/idempotency.ts';
import { permissionDenied } from '@landfall/common/errors/errors.ts';
import { roleReaches } from '@landfall/common/identity/identity.ts';
import { Role } from '@landfall/proto/landfall/mesh/v1/options_pb.js';
import {
  MovePromptResponseSchema,
  PromptAccessService,
} from '@landfall/proto/landfall/prompt/v1/access_service_pb.js';
import type { AccessRoute } from '../context.ts';
import { accessCall } from '../domain/access-call.ts';
import { accessChanged, lockAccess } from '../domain/access-changes.ts';
import { onRecord } from '../domain/audit.ts';
import { labelsThatLoosen } from '../domain/protections.ts';
import { requireFolderRight, requireRight } from '../domain/rights.ts';
import { promptTarget } from '../domain/targets.ts';
import { lockPrompt } from '../domain/versions.ts';

export const movePrompt: AccessRoute<'movePrompt'> =
  (context) =>
  async (request, { identity }) => {
    const { name, folder, requestId } = request;
    const { tenant, subject, role } = identity;
    const target = promptTarget(name);
    const call = accessCall(PromptAccessService.method.movePrompt, identity, requestId);
    const change = { tenant, subject, action: 'prompt.moved', target, after: folder };
    return onRecord(context, change, async (em) => {
      const prompt = await requireRight(em, identity, name, 'owner');
      await requireFolderRight(em, identity, folder, 'editor');
      return once(em, call, request, async () => {
        const access = await lockAccess(em, tenant, target);
        await lockPrompt(em, prompt);
        const fromFolder = prompt.folder;
        if (fromFolder !== folder) {
          const labels = await labelsThatLoosen(em, prompt, folder);
          if (labels.length > 0 && !roleReaches(role, Role.ADMIN)) {
            throw permissionDenied(
              `in folders/${folder} less would be asked for before a move of '${labels.join("', '")}': let an administrator move ${target}`,
              { reason: 'PROTECTION_LOOSENED' },
            );
          }
          prompt.folder = folder;
          await accessChanged(em, access, { ...change, before: fromFolder });
        }
        return create(MovePromptResponseSchema, { fromFolder });
      });
    });
  };
