import { create } from '@bufbuild/protobuf';
import { failedPrecondition, invalidArgument } from '@landfall/common/errors/errors.ts';
import {
  type CreateWebhookRequest,
  type CreateWebhookResponse,
  CreateWebhookResponseSchema,
} from '@landfall/proto/landfall/gateway/v1/webhook_service_pb.js';
import { v7 as uuidv7 } from 'uuid';
import type { OwnRoute } from '../../context.ts';
import { WebhookSchema } from '../../db/webhook-entities.ts';
import { audit } from '../../domain/audit.ts';
import { refusedUrl } from '../../webhooks/post.ts';
import { SecretBox } from '../../webhooks/secret.ts';
import { webhookReply } from './list-webhooks.ts';

const MOST_WEBHOOKS = 100;

export const createWebhook: OwnRoute<CreateWebhookRequest, CreateWebhookResponse> =
  ({ database, config, secrets }) =>
  async ({ url, subjects }, caller) => {
    const refused = refusedUrl(url, new Set(config.webhookHosts));
    if (refused) throw invalidArgument('url', refused);
    const secret = SecretBox.make();
    const { tenant } = caller;
    const row = {
      ...{
        id: uuidv7(),
        tenant,
        url,
        subjects: subjects.join('\n'),
        secret: secrets.seal(secret),
        ...{ replaced: '', replacedUntilMs: 0, failingMs: 0, ended: '' },
      },
      createdMs: Date.now(),
    };
    await database.transaction(async (em) => {
      if ((await em.count(WebhookSchema, { tenant })) >= MOST_WEBHOOKS)
        throw failedPrecondition(`a tenant has at most ${MOST_WEBHOOKS} webhooks; delete one first`);
      await em.insert(WebhookSchema, row);
      await audit(em, caller, 'landfall.gateway.v1.WebhookService/CreateWebhook', `webhooks/${row.id}`);
    });
    return create(CreateWebhookResponseSchema, { webhook: webhookReply(row, 0), secret });
  };
