import { durationFromMs } from '@bufbuild/protobuf/wkt';
import {
  CreateWebhookResponseSchema,
  ListWebhooksResponseSchema,
  RotateWebhookSecretResponseSchema,
} from '@landfall/proto/landfall/gateway/v1/webhook_service_pb.js';
import { type Command, listOf, numberOf } from '../command.ts';
import { table } from '../render.ts';
import { time } from './prompt-targets.ts';

/** Servers that are told of events. */
export const webhookCommands: Record<string, Command> = {
  'webhooks list': {
    usage: 'webhooks list',
    summary: 'Servers that are told of events, newest first.',
    arguments: [],
    options: {},
    meaning: {},
    example: 'webhooks list',
    async run(session) {
      const reply = await session.clients.webhooks.listWebhooks({});
      session.print(ListWebhooksResponseSchema, reply, () =>
        table(
          ['WEBHOOKS', 'URL', 'SUBJECTS', 'WAITING', 'STATE', 'SINCE'],
          reply.webhooks.map(({ id, url, subjects, waiting, ended, createTime }) => [
            ...[id, url, subjects.join(', ') || 'all', `${waiting}`],
            ...[ended ? `ended: ${ended}` : 'works', time(createTime)],
          ]),
        ),
      );
    },
  },
  'webhooks create': {
    usage: 'webhooks create URL',
    summary: 'Has events posted to a server; the secret of their signatures is shown this once.',
    arguments: ['URL'],
    options: { subject: { type: 'string', multiple: true } },
    meaning: { subject: 'only these, such as landfall.registry.model.ready.v1; may be repeated' },
    example: 'webhooks create https://ops.acme.example/events --subject landfall.registry.model.ready.v1',
    async run(session) {
      const [url] = session.args as [string];
      const subjects = listOf(session.values, 'subject');
      const reply = await session.clients.webhooks.createWebhook({ url, subjects });
      session.print(CreateWebhookResponseSchema, reply, () => `${reply.webhook!.id} ${reply.secret}`);
    },
  },
  'webhooks rotate': {
    usage: 'webhooks rotate ID',
    summary: 'Gives a webhook another secret; both sign for a while, and the new one is shown this once.',
    arguments: ['ID'],
    options: { overlap: { type: 'string', default: '24' } },
    meaning: { overlap: 'hours that the old secret signs too (default 24; 0 for one that leaked)' },
    example: 'webhooks rotate 0198a1b2-... --overlap 1',
    async run(session) {
      const hours = numberOf(session.values, 'overlap')!;
      const overlap = durationFromMs(Math.round(hours * 3_600_000));
      const reply = await session.clients.webhooks.rotateWebhookSecret({ id: session.args[0]!, overlap });
      session.print(RotateWebhookSecretResponseSchema, reply, () => reply.secret);
    },
  },
  'webhooks delete': {
    usage: 'webhooks delete ID',
    summary: 'Ends a webhook, with what waits for it.',
    arguments: ['ID'],
    options: {},
    meaning: {},
    example: 'webhooks delete 0198a1b2-...',
    async run(session) {
      const [id] = session.args as [string];
      await session.clients.webhooks.deleteWebhook({ id });
      session.line(session.json ? JSON.stringify({ deleted: id }) : `${id} is ended`);
    },
  },
};
