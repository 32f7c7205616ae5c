import type { MessageInitShape } from '@bufbuild/protobuf';
import type { CallContext } from '@landfall/common/rpc/call-context.ts';
import type { FinishReason, TokenLogprobSchema } from '@landfall/proto/landfall/text/v1/generation_pb.js';
import type {
  GenerateRequest,
  ScoreRequest,
} from '@landfall/proto/landfall/text/v1/text_inference_service_pb.js';
import type { BackendLoad } from './backend-load.ts';

/** One message of an answer. */
export interface Part {
  index?: number;
  delta?: string;
  logprobs?: MessageInitShape<typeof TokenLogprobSchema>[];
  finishReason?: FinishReason;
  /** On the last one. */
  usage?: { inputTokens: number; outputTokens: number; cachedTokens?: number };
  /** On the first one: `models:/name/version` that answers. */
  model?: string;
}

export interface Score {
  /** `models:/name/version` where it is not the base. */
  model?: string;
  tokens: number;
  /** Natural. */
  logProbability: number;
}

/**
 * What answers in a replica's place where that is not our own engine. The routes around it are the service's: identity,
 * rules, admission, telemetry and load are the same for all.
 */
export interface Backend extends AsyncDisposable {
  /** `models:/name/version` that it serves. */
  readonly base: string;
  readonly load: BackendLoad;
  /** Resolves when calls can be taken. @throws Error where that can never be */
  start(signal: AbortSignal): Promise<void>;
  /**
   * Answers a request that keeps the contract's rules; what this backend can't do is refused by the field's name.
   * The first reply that says something carries the model, the last one reason and usage.
   * @throws LandfallError
   */
  generate(request: GenerateRequest, call: CallContext): AsyncGenerator<Part>;
  /** How likely a completion is, where that can be said. @throws LandfallError */
  score?(request: ScoreRequest, signal: AbortSignal): Promise<Score>;
  /** Makes an adapter usable; returns its name and whether that took anything. @throws LandfallError */
  loadAdapter(model: string, signal: AbortSignal): Promise<{ ref: string; changed: boolean }>;
  /** Forgets an adapter; false where it was not there. */
  unloadAdapter(model: string): boolean;
}
