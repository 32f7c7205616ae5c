import type { PrefixSketch } from '@landfall/common/balancing/prefix-keys.ts';
import { unavailable } from '@landfall/common/errors/errors.ts';
import type { Identity } from '@landfall/common/identity/identity.ts';
import type { Logger } from '@landfall/common/log/logger.ts';
import { Role } from '@landfall/proto/landfall/mesh/v1/options_pb.js';
import type { Admission } from './admission.ts';
import type { TextConfig } from './config.ts';
import type { ImageThread } from './engine/image-thread.ts';
import type { ModelThread } from './engine/model-thread.ts';
import type { PromptThread } from './engine/prompt-thread.ts';
import { unknownModel } from './errors.ts';
import type { Adapters } from './model/adapters.ts';
import { formatModelRef } from './model/ref.ts';

/** What a loaded replica works with. */
export interface LoadedModel {
  thread: ModelThread;
  prompts: PromptThread;
  /** Where the model reads images. */
  images?: ImageThread | undefined;
  adapters: Adapters;
  admission: Admission;
  /** Beginnings of prompts that were computed last. */
  prefixes: PrefixSketch;
}

/** What routes and consumers share. */
export class TextContext {
  readonly config: TextConfig;
  readonly logger: Logger;
  readonly admission: Admission;
  /** Fires when the service begins to drain: streams without an end of their own stop. */
  readonly draining: AbortSignal;
  #model: LoadedModel | undefined;

  constructor(config: TextConfig, logger: Logger, admission: Admission, draining: AbortSignal) {
    this.config = config;
    this.logger = logger;
    this.admission = admission;
    this.draining = draining;
  }

  setModel(model: LoadedModel): void {
    this.#model = model;
  }

  /** Lets callers of the model's tenant pass. @throws LandfallError NOT_FOUND for others. */
  checkTenant(identity: Identity): void {
    if (identity.tenant !== this.config.tenant && identity.role !== Role.SERVICE) {
      throw unknownModel('the model');
    }
  }

  /** The model, for a caller of its tenant. @throws LandfallError UNAVAILABLE while it loads, NOT_FOUND for others. */
  model(identity: Identity): LoadedModel {
    this.checkTenant(identity);
    if (!this.#model) {
      throw unavailable(`${formatModelRef(this.config.model)} is being loaded`, { retryAfterMs: 1000 });
    }
    return this.#model;
  }
}
