import type { MessageInitShape } from '@bufbuild/protobuf';
import type { TokenLogprobSchema } from '@landfall/proto/landfall/text/v1/generation_pb.js';

type Logprob = MessageInitShape<typeof TokenLogprobSchema>;
type Json = Record<string, unknown>;

/** More than a server is ever asked for. */
const MOST_TOP = 20;

const object = (value: unknown): Json =>
  typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Json) : {};
const list = (value: unknown): unknown[] => (Array.isArray(value) ? value : []);
const isByte = (value: unknown) =>
  Number.isInteger(value) && (value as number) >= 0 && (value as number) < 256;

function logprob(token: unknown, bytes: unknown, value: unknown, top: Logprob[] = []): Logprob {
  const text = typeof token === 'string' ? token : '';
  const given = Array.isArray(bytes) && bytes.every(isByte) ? Uint8Array.from(bytes as number[]) : undefined;
  return {
    token: text,
    bytes: given ?? new TextEncoder().encode(text),
    logprob: typeof value === 'number' ? value : 0,
    top,
  };
}

/** Log-probabilities in the form of chat completions; none from anything else. */
export function chatLogprobs(value: unknown): Logprob[] {
  return list(object(value).content).map((entry) => {
    const { token, bytes, logprob: own, top_logprobs: top } = object(entry);
    const best = list(top).slice(0, MOST_TOP).map(object);
    return logprob(
      token,
      bytes,
      own,
      best.map((each) => logprob(each.token, each.bytes, each.logprob)),
    );
  });
}

/** The older form: lists side by side. */
export function textLogprobs(value: unknown): Logprob[] {
  const { tokens, token_logprobs: own, top_logprobs: top } = object(value);
  return list(tokens).map((token, i) => {
    const best = Object.entries(object(list(top)[i])).slice(0, MOST_TOP);
    const sorted = best.sort(([, a], [, b]) => Number(b) - Number(a));
    return logprob(
      token,
      undefined,
      list(own)[i],
      sorted.map(([text, each]) => logprob(text, undefined, each)),
    );
  });
}
