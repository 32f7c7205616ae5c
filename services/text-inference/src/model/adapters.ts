/** Which models this replica answers for: its base, and adapters made for it, loaded when they are asked for. */

import { failedPrecondition } from '@landfall/common/errors/errors.ts';
import { unlessAborted } from '@landfall/common/lifecycle/unless-aborted.ts';
import { Kind, type Version } from '@landfall/proto/landfall/registry/v1/model_pb.js';
import type { ModelThread } from '../engine/model-thread.ts';
import type { AdapterAnswer } from '../engine/protocol.ts';
import { unknownModel } from '../errors.ts';
import { formatModelRef, parseModelRef } from './ref.ts';
import { adapterKey, refOfKey, type VersionSource } from './versions.ts';

/** A model that a request can run on. */
export interface Target {
  /** `models:/name/version`. */
  ref: string;
  /** Key of the adapter; undefined for the base. */
  adapter: string | undefined;
}

export class Adapters {
  /** `models:/name/version` of the base. */
  readonly base: string;
  readonly #thread: ModelThread;
  readonly #versions: VersionSource | undefined;
  readonly #signal: AbortSignal;
  readonly #loading = new Map<string, Promise<AdapterAnswer>>();

  /**
   * @param versions undefined on a replica without a registry.
   * @param signal ends downloads when the service stops; a caller that leaves does not end them.
   */
  constructor(thread: ModelThread, base: string, versions: VersionSource | undefined, signal: AbortSignal) {
    this.#thread = thread;
    this.base = base;
    this.#versions = versions;
    this.#signal = signal;
  }

  /** `models:/name/version` of the adapters that are loaded. */
  get loaded(): string[] {
    return [...new Set(this.#thread.load.adapters.map(refOfKey))];
  }

  /** The model of a request, its adapter loaded. Empty means the base. */
  async target(model: string, signal: AbortSignal): Promise<Target> {
    const ref = model === '' ? this.base : formatModelRef(parseModelRef(model));
    if (ref === this.base) return { ref, adapter: undefined };
    const version = await this.#find(ref, signal);
    if (formatModelRef(version) === this.base) return { ref: this.base, adapter: undefined };
    await unlessAborted(this.load(version), signal);
    return { ref: formatModelRef(version), adapter: adapterKey(version) };
  }

  /** Loads an adapter by name. */
  async loadRef(model: string, signal: AbortSignal): Promise<AdapterAnswer & { ref: string }> {
    const version = await this.#find(formatModelRef(parseModelRef(model)), signal);
    return { ...(await unlessAborted(this.load(version), signal)), ref: formatModelRef(version) };
  }

  /** Makes an adapter version usable; concurrent calls share the work. @throws LandfallError for another base's. */
  load(version: Version): Promise<AdapterAnswer> {
    const key = adapterKey(version);
    const ref = formatModelRef(version);
    if (version.kind !== Kind.ADAPTER || version.lineage?.base !== this.base) {
      const made =
        version.kind === Kind.ADAPTER
          ? `was made for ${version.lineage?.base || 'no base'}`
          : 'is no adapter';
      throw failedPrecondition(`${ref} ${made}; this replica serves ${this.base}`, { reason: 'OTHER_BASE' });
    }
    if (this.#thread.load.adapters.includes(key)) return Promise.resolve({ loadMs: 0, changed: false });
    let loading = this.#loading.get(key);
    if (!loading) {
      loading = this.#load(version, key).finally(() => this.#loading.delete(key));
      this.#loading.set(key, loading);
    }
    return loading;
  }

  /** Drops an adapter, all its drafts included, after its last request. */
  async unload(model: string): Promise<boolean> {
    const ref = formatModelRef(parseModelRef(model));
    const keys = this.#thread.load.adapters.filter((key) => refOfKey(key) === ref);
    const answers = await Promise.all(keys.map((key) => this.#thread.unloadAdapter(key)));
    return answers.some((answer) => answer.changed);
  }

  async #load(version: Version, key: string): Promise<AdapterAnswer> {
    const folder = await this.#versions!.folder(version, this.#signal);
    return this.#thread.loadAdapter(key, folder);
  }

  async #find(ref: string, signal: AbortSignal): Promise<Version> {
    const version = await this.#versions?.find(parseModelRef(ref), signal);
    if (!version) throw unknownModel(ref);
    return version;
  }
}
