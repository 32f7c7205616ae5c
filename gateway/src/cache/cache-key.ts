import { createHmac, hkdfSync } from 'node:crypto';
import { create, toBinary } from '@bufbuild/protobuf';
import {
  type SamplingOptions,
  SamplingOptionsSchema,
} from '@landfall/proto/landfall/text/v1/generation_pb.js';
import {
  type GenerateRequest,
  GenerateRequestSchema,
} from '@landfall/proto/landfall/text/v1/text_inference_service_pb.js';

/** What decides an answer beside its request. */
export interface KeyGround {
  /** The deployment or model as it was asked for: two deployments of one model may be set up in different ways. */
  readonly asked: string;
  /** `models:/name/version` that answers now. */
  readonly model: string;
  /** Version of the content policy and its rule that fits; empty for none. */
  readonly contentRule: string;
}

/** Longest question that is looked for by its likeness, in UTF-16 units: what an embedding takes. */
const LONGEST_QUESTION = 4096;

/**
 * A tenant's own secret: nobody who reads the database can tell by a key what was asked, nor whether two tenants have
 * asked the same.
 */
export function tenantSecret(meshKey: Uint8Array, tenant: string): Buffer {
  return Buffer.from(hkdfSync('sha256', meshKey, tenant, 'landfall answer cache keys', 32));
}

/** HMAC-SHA256 over all that decides an answer, base64url. The request is as content policies have let it pass. */
export function answerKey(secret: Buffer, ground: KeyGround, request: GenerateRequest): string {
  return digest(secret, 'answer', ground, request);
}

/** What a similar request is looked for by; undefined for one that none is similar to. */
export function questionOf(request: GenerateRequest): string | undefined {
  const last = request.messages.at(-1);
  const asks = last?.role === 'user' && last.images.length === 0;
  return asks && last.content.trim() !== '' && last.content.length <= LONGEST_QUESTION
    ? last.content
    : undefined;
}

/** The same over all but the question. */
export function contextKey(secret: Buffer, ground: KeyGround, request: GenerateRequest): string {
  const last = request.messages.length - 1;
  const messages = request.messages.map((message, i) => (i === last ? { ...message, content: '' } : message));
  return digest(secret, 'context', ground, { ...request, messages });
}

function digest(secret: Buffer, what: string, ground: KeyGround, request: GenerateRequest): string {
  const { asked, model, contentRule } = ground;
  // Who goes first and what is guessed ahead changes no answer; absent temperature is 0.
  const sampling: SamplingOptions = { ...(request.sampling ?? create(SamplingOptionsSchema)) };
  sampling.temperature ??= 0;
  sampling.promptLookup = undefined;
  const decisive = { ...request, model: '', priority: 0, sampling };
  return createHmac('sha256', secret)
    .update(`${JSON.stringify([what, asked, model, contentRule])}\n`)
    .update(toBinary(GenerateRequestSchema, decisive))
    .digest('base64url');
}
