import { create } from '@bufbuild/protobuf';
import { timestampMs, timestampNow } from '@bufbuild/protobuf/wkt';
import { status } from '@grpc/grpc-js';
import type { LabelMoved } from '@landfall/proto/landfall/event/v1/events_pb.js';
import {
  type GetPromptRequest,
  type GetPromptResponse,
  GetPromptResponseSchema,
} from '@landfall/proto/landfall/prompt/v1/prompt_service_pb.js';
import { LRUCache } from 'lru-cache';
import { LandfallError } from '../errors/errors.ts';
import type { Identity } from '../identity/identity.ts';
import type { Logger } from '../log/logger.ts';
import type { CallOptions } from '../rpc/client.ts';
import { LabelFiles } from './label-files.ts';

export interface LabelCacheOptions {
  /** Asks the prompt service. */
  read: (
    request: Pick<GetPromptRequest, 'name' | 'version'>,
    options: CallOptions,
  ) => Promise<GetPromptResponse>;
  logger: Logger;
  /** Where reads outlive this process; without it they are kept in memory alone. */
  folder?: string;
  /** How long a read is given out again without asking, in milliseconds (default 0: the service is always asked). */
  freshMs?: number;
  /** How long a read is given out while the service is away, in milliseconds (default 7 days). */
  staleMs?: number;
  /** How long to wait for a service that is away when there is an earlier read, in milliseconds (default 2,000). */
  patienceMs?: number;
  /** After that the service is left alone for so long, in milliseconds (default 1,000). */
  pauseMs?: number;
  /** Reads that are kept in memory (default 1,000). */
  most?: number;
}

interface Entry {
  reply: GetPromptResponse;
  readMs: number;
  /** Whether an event has said that there may be news. */
  outdated: boolean;
}

/** Failures of the service or the way to it; anything else is its answer. */
const AWAY: ReadonlySet<status> = new Set([
  status.UNAVAILABLE,
  status.DEADLINE_EXCEEDED,
  status.RESOURCE_EXHAUSTED,
  status.INTERNAL,
  status.UNKNOWN,
]);

/**
 * Reads of prompts by label that stay available while the prompt service is away: then a caller gets what it has read
 * last, with `stale` set. Nobody gets what another caller has read, since rights differ; a refusal ends what was kept.
 */
export class LabelCache {
  readonly #options: Required<Omit<LabelCacheOptions, 'folder'>>;
  readonly #files: LabelFiles | undefined;
  readonly #entries: LRUCache<string, Entry>;
  /** Reads under way, by key. */
  readonly #reading = new Set<string>();
  /** Grows with each event: a read that was under way then may be older than what it says. */
  #news = 0;
  #pausedUntilMs = 0;

  constructor({ folder, ...options }: LabelCacheOptions) {
    const defaults = { freshMs: 0, staleMs: 7 * 86_400_000, patienceMs: 2000, pauseMs: 1000, most: 1000 };
    this.#options = { ...defaults, ...options };
    this.#files = folder ? new LabelFiles(folder) : undefined;
    this.#entries = new LRUCache({
      max: this.#options.most,
      dispose: (_entry, key, reason) => {
        if (reason === 'evict') void this.#remove(key);
      },
    });
    void this.#files?.sweep(this.#options.staleMs).catch((err) => {
      options.logger.warn({ err }, 'old reads of labels could not be removed');
    });
  }

  /**
   * The version that a label of a prompt points at.
   * @param call whose read it is; its signal and deadline hold for what is asked
   * @throws LandfallError what the service answers; UNAVAILABLE where it is away and this caller has not read it before
   */
  async get(
    name: string,
    label: string,
    call: CallOptions & { identity: Identity },
  ): Promise<GetPromptResponse> {
    const key = keyOf(call.identity, name, label);
    const known = this.#entries.get(key) ?? (await this.#load(key));
    const { freshMs, staleMs, patienceMs } = this.#options;
    const now = Date.now();
    const age = now - (known?.readMs ?? 0);
    // Of many that find a read too old one asks.
    const limit = this.#reading.has(key) ? 2 * freshMs : freshMs;
    if (known && age < limit && !known.outdated) return known.reply;
    const usable = known && age < staleMs ? known : undefined;
    if (usable && now < this.#pausedUntilMs) return stale(usable);
    const timeoutMs = Math.min(patienceMs, call.timeoutMs ?? patienceMs);
    const patient = usable ? { ...call, timeoutMs, attempts: 1 } : call;
    try {
      return await this.#read(key, name, label, patient);
    } catch (cause) {
      if (!(cause instanceof LandfallError) || callEnded(call)) throw cause;
      if (!AWAY.has(cause.code)) {
        await this.#forget(key);
        throw cause;
      }
      if (!usable) throw cause;
      this.#pausedUntilMs = Date.now() + this.#options.pauseMs;
      this.#options.logger.warn(
        { err: cause, name, label },
        'the prompt service is away: an earlier read is given out',
      );
      return stale(usable);
    }
  }

  /** A label has moved: its reads are asked for anew. For a consumer of `landfall.prompt.label.moved.v1`. */
  moved({ tenant, name, label, revision }: Pick<LabelMoved, 'tenant' | 'name' | 'label' | 'revision'>): void {
    this.#news += 1;
    for (const [key, entry] of this.#entries.entries()) {
      if (key.endsWith(suffixOf(tenant, name, label)) && entry.reply.labelRevision < revision)
        entry.outdated = true;
    }
  }

  /** Rights have changed: nothing is given out without asking. For `landfall.prompt.access.changed.v1`. */
  accessChanged(): void {
    this.#news += 1;
    for (const entry of this.#entries.values()) entry.outdated = true;
  }

  async #read(key: string, name: string, label: string, call: CallOptions): Promise<GetPromptResponse> {
    const news = this.#news;
    this.#reading.add(key);
    try {
      const read = await this.#options.read({ name, version: `@${label}` }, call);
      const reply = create(GetPromptResponseSchema, { ...read, stale: false });
      reply.readTime ??= timestampNow();
      this.#entries.set(key, { reply, readMs: Date.now(), outdated: news !== this.#news });
      await this.#save(key, reply);
      return reply;
    } finally {
      this.#reading.delete(key);
    }
  }

  async #load(key: string): Promise<Entry | undefined> {
    const reply = await this.#files?.load(key);
    if (!reply) return undefined;
    // What another process has read may have changed since: it is there for when the service is away.
    const entry = { reply, readMs: reply.readTime ? timestampMs(reply.readTime) : 0, outdated: true };
    this.#entries.set(key, entry);
    return entry;
  }

  /** A full disk takes nothing from the caller. */
  async #save(key: string, reply: GetPromptResponse): Promise<void> {
    await this.#files?.save(key, reply).catch((err) => {
      this.#options.logger.warn({ err }, 'the read of a label could not be kept on disk');
    });
  }

  async #forget(key: string): Promise<void> {
    this.#entries.delete(key);
    await this.#remove(key);
  }

  async #remove(key: string): Promise<void> {
    await this.#files?.remove(key).catch((err) => {
      this.#options.logger.warn({ err }, 'the read of a label could not be removed');
    });
  }
}

const stale = ({ reply }: Entry): GetPromptResponse =>
  create(GetPromptResponseSchema, { ...reply, stale: true });

const suffixOf = (tenant: string, name: string, label: string) => JSON.stringify([tenant, name, label]);

const keyOf = ({ tenant, subject, role, groups = [] }: Identity, name: string, label: string) =>
  JSON.stringify([subject, role, groups]) + suffixOf(tenant, name, label);

/** Whether it was the caller who left, or whose time was over: then there is nobody to give anything to. */
const callEnded = ({ signal, context }: CallOptions) =>
  signal?.aborted === true || context?.signal.aborted === true;
