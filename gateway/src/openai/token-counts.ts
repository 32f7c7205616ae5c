import { FinishReason, type Usage } from '@landfall/proto/landfall/text/v1/generation_pb.js';

export function finishReason(reason: FinishReason): 'stop' | 'length' | null {
  if (reason === FinishReason.STOP) return 'stop';
  if (reason === FinishReason.LENGTH) return 'length';
  return null;
}

export function usageBody({ inputTokens, outputTokens, cachedTokens }: Usage) {
  return {
    prompt_tokens: inputTokens,
    completion_tokens: outputTokens,
    total_tokens: inputTokens + outputTokens,
    prompt_tokens_details: { cached_tokens: cachedTokens },
  };
}
