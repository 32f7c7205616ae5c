import { sizeDelimitedDecodeStream, sizeDelimitedEncode } from '@bufbuild/protobuf/wire';
import { FinishReason } from '@landfall/proto/landfall/text/v1/generation_pb.js';
import {
  type GenerateRequest,
  type GenerateResponse,
  GenerateResponseSchema,
} from '@landfall/proto/landfall/text/v1/text_inference_service_pb.js';

/** An answer as it is given again. */
export interface KeptAnswer {
  readonly id: string;
  readonly createdMs: number;
  readonly parts: readonly GenerateResponse[];
  readonly bytes: number;
}

/** What a part takes in memory, in bytes, as far as it matters. */
export function sizeOf({ delta, logprobs }: GenerateResponse): number {
  let bytes = 96 + 2 * delta.length;
  for (const { top } of logprobs) bytes += 128 * (1 + top.length);
  return bytes;
}

/** Whether every answer that was asked for has come to its end by itself or by its bound. */
export function isWhole(request: GenerateRequest, parts: readonly GenerateResponse[]): boolean {
  const ends = parts.filter(({ finishReason }) => finishReason !== FinishReason.UNSPECIFIED);
  const well = ends.every(
    ({ finishReason: reason }) => reason === FinishReason.STOP || reason === FinishReason.LENGTH,
  );
  const indexes = new Set(ends.map(({ index }) => index));
  return well && indexes.size === (request.sampling?.n || 1) && parts.some(({ usage }) => usage);
}

/**
 * Parts without what belongs to the moment and not to the answer: the replica's load, and how long it took, which is
 * nothing when it is given again.
 */
export function lasting(parts: readonly GenerateResponse[]): GenerateResponse[] {
  return parts.flatMap(({ load: _, ...part }) => {
    const { usage, delta, model, logprobs, finishReason } = part;
    if (delta === '' && !model && logprobs.length === 0 && !finishReason && !usage) return [];
    const times = { timeToFirstTokenMs: 0, durationMs: 0, queueMs: 0 };
    return [{ ...part, ...(usage ? { usage: { ...usage, ...times } } : {}) } as GenerateResponse];
  });
}

/** Tokens that were written for it. */
export const tokensOf = (parts: readonly GenerateResponse[]): number =>
  parts.reduce((sum, { usage }) => sum + (usage?.outputTokens ?? 0), 0);

/** Parts one behind the other, the length of each before it. */
export function answerBytes(parts: readonly GenerateResponse[]): Buffer {
  return Buffer.concat(parts.map((part) => sizeDelimitedEncode(GenerateResponseSchema, part)));
}

export async function readAnswer(bytes: Uint8Array): Promise<GenerateResponse[]> {
  const whole = (async function* () {
    yield bytes;
  })();
  return Array.fromAsync(sizeDelimitedDecodeStream(GenerateResponseSchema, whole));
}
