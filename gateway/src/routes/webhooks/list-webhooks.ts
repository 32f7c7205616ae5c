import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import {
  type ListWebhooksRequest,
  type ListWebhooksResponse,
  ListWebhooksResponseSchema,
  type WebhookSchema as WebhookMessage,
} from '@landfall/proto/landfall/gateway/v1/webhook_service_pb.js';
import type { OwnRoute } from '../../context.ts';
import { DeliverySchema, type WebhookRow, WebhookSchema } from '../../db/webhook-entities.ts';

/** A webhook as callers see it. */
export function webhookReply(row: WebhookRow, waiting: number): MessageInitShape<typeof WebhookMessage> {
  const { id, url, subjects, ended, createdMs } = row;
  return {
    ...{ id, url, ended, createTime: timestampFromMs(createdMs), waiting: BigInt(waiting) },
    subjects: subjects === '' ? [] : subjects.split('\n'),
  };
}

export const listWebhooks: OwnRoute<ListWebhooksRequest, ListWebhooksResponse> =
  ({ database }) =>
  async (_request, { tenant }) => {
    const rows = await database.read((em) => em.find(WebhookSchema, { tenant }, { orderBy: { id: 'desc' } }));
    const webhooks = [];
    for (const row of rows) {
      const waiting = await database.read((em) => em.count(DeliverySchema, { webhookId: row.id }));
      webhooks.push(webhookReply(row, waiting));
    }
    return create(ListWebhooksResponseSchema, { webhooks });
  };
