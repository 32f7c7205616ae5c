import { create } from '@bufbuild/protobuf';
import { durationMs, timestampFromMs } from '@bufbuild/protobuf/wkt';
import { failedPrecondition, notFound } from '@landfall/common/errors/errors.ts';
import {
  type RotateWebhookSecretRequest,
  type RotateWebhookSecretResponse,
  RotateWebhookSecretResponseSchema,
} from '@landfall/proto/landfall/gateway/v1/webhook_service_pb.js';
import type { OwnRoute } from '../../context.ts';
import { WebhookSchema } from '../../db/webhook-entities.ts';
import { audit } from '../../domain/audit.ts';
import { SecretBox } from '../../webhooks/secret.ts';

const METHOD = 'landfall.gateway.v1.WebhookService/RotateWebhookSecret';
const DAY_MS = 86_400_000;

export const rotateWebhookSecret: OwnRoute<RotateWebhookSecretRequest, RotateWebhookSecretResponse> =
  ({ database, secrets }) =>
  async ({ id, overlap }, caller) => {
    const secret = SecretBox.make();
    const replacedUntilMs = Date.now() + (overlap ? durationMs(overlap) : DAY_MS);
    await database.transaction(async (em) => {
      const webhook = await em.findOne(WebhookSchema, { id, tenant: caller.tenant });
      if (!webhook) throw notFound('no webhook with this id; ListWebhooks names them');
      if (webhook.ended !== '')
        throw failedPrecondition('the webhook has ended; CreateWebhook makes a new one');
      await em.nativeUpdate(
        WebhookSchema,
        { id, tenant: caller.tenant },
        { secret: secrets.seal(secret), replaced: webhook.secret, replacedUntilMs },
      );
      await audit(em, caller, METHOD, `webhooks/${id}`);
    });
    return create(RotateWebhookSecretResponseSchema, {
      secret,
      replacedUntil: timestampFromMs(replacedUntilMs),
    });
  };
