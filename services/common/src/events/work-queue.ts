import { setTimeout as delay } from 'node:timers/promises';
import { AckPolicy, type Consumer, DeliverPolicy, type JsMsg, RetentionPolicy } from '@nats-io/jetstream';
import { nanos } from '@nats-io/transport-node';
import type { Logger } from '../log/logger.ts';
import type { Broker } from './broker.ts';

export interface WorkQueueOptions {
  broker: Broker;
  logger: Logger;
  /** Stream name, upper case. */
  stream: string;
  /** Subject outside `landfall.`, whose events another stream holds. */
  subject: string;
  /** A worker that is silent for this long has died: its task goes to another. */
  ackWaitMs?: number;
}

/** How a task has ended for the queue. */
export type TaskOutcome = 'done' | { retryAfterMs: number };

/** Tasks that one worker at a time works on; a task stays in the queue until a worker says that it is done. */
export class WorkQueue {
  readonly #options: WorkQueueOptions;
  readonly #ackWaitMs: number;

  constructor(options: WorkQueueOptions) {
    this.#options = options;
    this.#ackWaitMs = options.ackWaitMs ?? 5000;
  }

  /** Makes the stream and its consumer. */
  async ensure(): Promise<Consumer> {
    const { broker, stream, subject } = this.#options;
    await broker.ensureStream({ name: stream, subjects: [subject], retention: RetentionPolicy.Workqueue });
    const name = 'workers';
    await broker.manager.consumers.add(stream, {
      durable_name: name,
      ack_policy: AckPolicy.Explicit,
      deliver_policy: DeliverPolicy.All,
      ack_wait: nanos(this.#ackWaitMs),
      max_ack_pending: 1000,
    });
    return broker.js.consumers.get(stream, name);
  }

  /**
   * Works on tasks one at a time until the signal fires; the task in hand then ends by its own means (it gets the
   * signal). While a task runs the broker is told so, three times in each ack wait.
   */
  async work(
    run: (
      payload: string,
      task: { id: string; deliveries: number; signal: AbortSignal },
    ) => Promise<TaskOutcome>,
    signal: AbortSignal,
  ): Promise<void> {
    while (!signal.aborted) {
      try {
        const consumer = await this.ensure();
        while (!signal.aborted) {
          const message = await consumer.next({ expires: 1000 });
          if (message) await this.#one(message, run, signal);
        }
      } catch (error) {
        if (signal.aborted) return;
        this.#options.logger.warn({ err: error, queue: this.#options.stream }, 'the queue is taken up again');
        await delay(500, undefined, { signal }).catch(() => {});
      }
    }
  }

  async #one(
    message: JsMsg,
    run: (
      payload: string,
      task: { id: string; deliveries: number; signal: AbortSignal },
    ) => Promise<TaskOutcome>,
    signal: AbortSignal,
  ): Promise<void> {
    const beat = setInterval(() => message.working(), this.#ackWaitMs / 3);
    const id = message.headers?.get('ce-id') || message.headers?.get('Nats-Msg-Id') || String(message.seq);
    try {
      const outcome = await run(message.string(), { id, deliveries: message.info.deliveryCount, signal });
      if (outcome === 'done') message.ack();
      else message.nak(outcome.retryAfterMs);
    } catch (error) {
      this.#options.logger.error({ err: error, task_id: id }, 'a task failed and is tried again');
      message.nak(1000);
    } finally {
      clearInterval(beat);
    }
  }
}
