import { create } from '@bufbuild/protobuf';
import {
  type DeleteWebhookRequest,
  type DeleteWebhookResponse,
  DeleteWebhookResponseSchema,
} from '@landfall/proto/landfall/gateway/v1/webhook_service_pb.js';
import type { OwnRoute } from '../../context.ts';
import { DeliverySchema, WebhookSchema } from '../../db/webhook-entities.ts';
import { audit } from '../../domain/audit.ts';

export const deleteWebhook: OwnRoute<DeleteWebhookRequest, DeleteWebhookResponse> =
  ({ database }) =>
  async ({ id }, caller) => {
    await database.transaction(async (em) => {
      if ((await em.nativeDelete(WebhookSchema, { id, tenant: caller.tenant })) === 0) return;
      await em.nativeDelete(DeliverySchema, { webhookId: id });
      await audit(em, caller, 'landfall.gateway.v1.WebhookService/DeleteWebhook', `webhooks/${id}`);
    });
    return create(DeleteWebhookResponseSchema);
  };
