import { type JsonObject, toJsonString } from '@bufbuild/protobuf';
import { StructSchema } from '@bufbuild/protobuf/wkt';
import type { Database, EntityManager } from '@landfall/common/db/database.ts';
import type { Broker } from '@landfall/common/events/broker.ts';
import { EventConsumer } from '@landfall/common/events/consumer.ts';
import type { Logger } from '@landfall/common/log/logger.ts';
import { type DeliveryRow, DeliverySchema, type WebhookRow, WebhookSchema } from '../db/webhook-entities.ts';
import { post } from './post.ts';
import { type SecretBox, signatures } from './secret.ts';

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
/** Waits before each further attempt: over three days in all, as Standard Webhooks recommends. */
export const BACKOFF_MS: readonly number[] = [
  5000,
  ...[5 * MINUTE, 30 * MINUTE, 2 * HOUR, 5 * HOUR, 10 * HOUR, 14 * HOUR, 20 * HOUR, 24 * HOUR],
];
const LOOK_MS = 1000;
/** Posts under way, in all and to one webhook: a server that takes its time keeps the others' waiting for nothing. */
const AT_ONCE = 32;
const AT_ONCE_EACH = 4;
/** How long whoever posts has it to itself: longer than an attempt may take. */
const LEASE_MS = MINUTE;
const GONE = 410;

export interface WebhooksOptions {
  database: Database;
  secrets: SecretBox;
  logger: Logger;
  /** `host:port` of private servers that may be posted to. */
  hosts: ReadonlySet<string>;
  backoffMs?: readonly number[];
}

/** Takes events to the servers that asked for them; all gateways of one database share the work. */
export class Webhooks implements AsyncDisposable {
  readonly #options: WebhooksOptions;
  readonly #backoffMs: readonly number[];
  readonly #stopping = new AbortController();
  #timer: NodeJS.Timeout | undefined;
  #working: Promise<void> | undefined;
  /** Posts under way, and how many each webhook has. */
  readonly #posts = new Set<Promise<void>>();
  readonly #busy = new Map<string, number>();
  #consumer: EventConsumer<typeof StructSchema> | undefined;

  constructor(options: WebhooksOptions) {
    this.#options = options;
    this.#backoffMs = options.backoffMs ?? BACKOFF_MS;
  }

  async start(broker: Broker): Promise<void> {
    const { database, logger } = this.#options;
    this.#consumer = new EventConsumer({
      ...{
        broker,
        database,
        logger,
        durable: 'gateway-webhooks',
        subject: 'landfall.>',
        schema: StructSchema,
      },
      handle: (payload, { id, em, subject }) => this.#take(em!, id, subject, payload as never),
    });
    await this.#consumer.start();
    this.#timer = setInterval(() => this.#wake(), LOOK_MS);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    clearInterval(this.#timer);
    await this.#consumer?.[Symbol.asyncDispose]();
    this.#stopping.abort();
    await this.#working;
    await Promise.all(this.#posts);
  }

  /** An event becomes a delivery to each webhook that wants it, in the transaction that marks it as seen. */
  async #take(em: EntityManager, eventId: string, subject: string, event: JsonObject): Promise<void> {
    const payload = toJsonString(StructSchema, event as never);
    const { tenant } = JSON.parse(payload) as { tenant?: unknown };
    if (typeof tenant !== 'string') return;
    const webhooks = await em.find(WebhookSchema, { tenant, ended: '' });
    const now = Date.now();
    for (const { id, subjects } of webhooks) {
      if (subjects !== '' && !subjects.split('\n').includes(subject)) continue;
      const delivery = { webhookId: id, eventId, subject, payload, eventMs: now, attempts: 0, dueMs: now };
      await em.insert(DeliverySchema, delivery);
    }
  }

  #wake(): void {
    this.#working ??= this.#work()
      .catch((cause) => {
        if (!this.#stopping.signal.aborted)
          this.#options.logger.warn({ err: cause }, 'webhooks wait to be delivered');
      })
      .finally(() => {
        this.#working = undefined;
      });
  }

  async #work(): Promise<void> {
    const { database } = this.#options;
    while (!this.#stopping.signal.aborted) {
      if (this.#posts.size >= AT_ONCE) await Promise.race(this.#posts);
      const full = [...this.#busy].filter(([, posts]) => posts >= AT_ONCE_EACH).map(([id]) => id);
      const where = {
        dueMs: { $lte: Date.now() },
        ...(full.length > 0 ? { webhookId: { $nin: full } } : {}),
      };
      const limit = Math.min(AT_ONCE - this.#posts.size, AT_ONCE_EACH);
      const due = await database.read((em) =>
        em.find(DeliverySchema, where, { orderBy: { dueMs: 'asc' }, limit }),
      );
      if (due.length === 0) return;
      for (const row of due) {
        const posts = this.#busy.get(row.webhookId) ?? 0;
        if (posts < AT_ONCE_EACH && (await this.#lease(row))) this.#begin(row);
      }
    }
  }

  /** Whether this gateway is the one to post it. */
  async #lease({ webhookId, eventId, dueMs }: DeliveryRow): Promise<boolean> {
    const taken = await this.#options.database.read((em) =>
      em.nativeUpdate(DeliverySchema, { webhookId, eventId, dueMs }, { dueMs: Date.now() + LEASE_MS }),
    );
    return taken > 0;
  }

  #begin(row: DeliveryRow): void {
    const { webhookId } = row;
    this.#busy.set(webhookId, (this.#busy.get(webhookId) ?? 0) + 1);
    const post = this.#deliver(row)
      .catch((cause) => {
        if (!this.#stopping.signal.aborted)
          this.#options.logger.warn({ err: cause }, 'what became of a post is not kept');
      })
      .finally(() => {
        this.#posts.delete(post);
        const left = this.#busy.get(webhookId)! - 1;
        if (left > 0) this.#busy.set(webhookId, left);
        else this.#busy.delete(webhookId);
        if (!this.#stopping.signal.aborted) this.#wake();
      });
    this.#posts.add(post);
  }

  async #deliver(row: DeliveryRow): Promise<void> {
    const { database } = this.#options;
    const key = { webhookId: row.webhookId, eventId: row.eventId };
    const webhook = await database.read((em) => em.findOne(WebhookSchema, { id: row.webhookId, ended: '' }));
    const status = webhook ? await this.#post(webhook, row) : 0;
    if (this.#stopping.signal.aborted) return;
    const isTaken = status >= 200 && status < 300;
    if (webhook) await this.#note(webhook, isTaken);
    const waitMs = this.#backoffMs[row.attempts];
    if (status === GONE) await this.#end(row.webhookId, 'its server has answered that it is gone (410)');
    else if (webhook && !isTaken && waitMs === undefined) await this.#giveUp(row, status);
    if (!webhook || isTaken || status === GONE || waitMs === undefined) {
      await database.read((em) => em.nativeDelete(DeliverySchema, key));
      return;
    }
    // Up to a tenth later, so that those who failed together do not come together.
    const dueMs = Date.now() + Math.round(waitMs * (1 + Math.random() / 10));
    await database.read((em) => em.nativeUpdate(DeliverySchema, key, { dueMs, attempts: row.attempts + 1 }));
  }

  /** @returns the status, or 0 where there was no answer */
  async #post(webhook: WebhookRow, row: DeliveryRow): Promise<number> {
    const { hosts, logger } = this.#options;
    const timestamp = new Date(row.eventMs).toISOString();
    const body = `{"type":${JSON.stringify(row.subject)},"timestamp":"${timestamp}","data":${row.payload}}`;
    const seconds = Math.floor(Date.now() / 1000);
    const headers = {
      'webhook-id': row.eventId,
      'webhook-timestamp': String(seconds),
      'webhook-signature': signatures(this.#secretsOf(webhook), row.eventId, seconds, body),
    };
    try {
      return await post(webhook.url, hosts, headers, body, this.#stopping.signal);
    } catch (cause) {
      const { code } = cause as NodeJS.ErrnoException;
      logger.warn({ webhook: webhook.id, code, attempts: row.attempts + 1 }, 'a webhook was not answered');
      return 0;
    }
  }

  #secretsOf({ secret, replaced, replacedUntilMs }: WebhookRow): string[] {
    const sealed = replaced !== '' && Date.now() < replacedUntilMs ? [secret, replaced] : [secret];
    return sealed.map((each) => this.#options.secrets.open(each));
  }

  /** Since when nothing was taken is known, so that a server that is away for good can be told from one bad event. */
  async #note({ id, failingMs }: WebhookRow, isTaken: boolean): Promise<void> {
    if (isTaken === (failingMs === 0)) return;
    const change = { failingMs: isTaken ? 0 : Date.now() };
    // Of several that fail at once, the first counts.
    await this.#options.database.read((em) => em.nativeUpdate(WebhookSchema, { id, failingMs }, change));
  }

  /** After the last attempt: where nothing else was taken since the first one, its server is taken for dead. */
  async #giveUp({ webhookId, eventId, attempts }: DeliveryRow, status: number): Promise<void> {
    const { database, logger } = this.#options;
    const fate = { webhook: webhookId, event: eventId, status, attempts: attempts + 1 };
    logger.warn(fate, 'an event was not taken and is given up');
    const now = await database.read((em) => em.findOne(WebhookSchema, { id: webhookId, ended: '' }));
    const waitedMs = this.#backoffMs.reduce((sum, waitMs) => sum + waitMs, 0);
    if (!now || now.failingMs === 0 || Date.now() - now.failingMs < waitedMs) return;
    const since = new Date(now.failingMs).toISOString();
    const last = status === 0 ? 'with no answer' : `answered ${status}`;
    await this.#end(webhookId, `nothing was taken since ${since}: attempt ${attempts + 1} ended ${last}`);
  }

  async #end(id: string, ended: string): Promise<void> {
    await this.#options.database.read((em) => em.nativeUpdate(WebhookSchema, { id }, { ended }));
    await this.#options.database.read((em) => em.nativeDelete(DeliverySchema, { webhookId: id }));
  }
}
