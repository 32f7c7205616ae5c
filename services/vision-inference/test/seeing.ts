import { setImmediate as breathe } from 'node:timers/promises';
import { create } from '@bufbuild/protobuf';
import {
  FinishReason,
  type TokenLogprob,
  TokenLogprobSchema,
} from '@landfall/proto/landfall/text/v1/generation_pb.js';
import type { GenerateRequest } from '@landfall/proto/landfall/text/v1/text_inference_service_pb.js';
import sharp from 'sharp';
import type { Replica } from './stage.ts';

/** How a scripted model answers. */
export interface Script {
  text: string;
  /** Probability of the choices that matter: that there is a defect at all, and of the first type; 1 where not given. */
  report?: number;
  type?: number;
  /** Without log-probabilities. */
  mute?: boolean;
  finishReason?: FinishReason;
}

const plain = (text: string, probability: number) => ({
  ...{ token: text, bytes: Buffer.from(text), logprob: Math.log(probability) },
});

const token = (text: string, probability: number): TokenLogprob =>
  create(TokenLogprobSchema, plain(text, probability));

/** An answer of a model that names the defects. */
export const answerOf = (...defects: readonly (readonly [string, string, readonly number[]])[]): string =>
  JSON.stringify({ defects: defects.map(([type, severity, box]) => ({ type, severity, box })) });

/**
 * The tokens of an answer, with what else stood to choose where it decides.
 * @param cut whether a token ends before this character, where it need not
 */
export function tokensOf(
  { text, report = 1, type = 1 }: Script,
  cut: (at: number) => boolean = () => true,
): TokenLogprob[] {
  const list = text.indexOf('[');
  const typeAt = text.indexOf('"type":"') < 0 ? -1 : text.indexOf('"type":"') + 8;
  const tokens: TokenLogprob[] = [];
  let start = 0;
  for (let at = 1; at <= text.length; at++) {
    // A type that is decided stands in a token of its own beginning, as a tokeniser that splits at quotes has it.
    if (at < text.length && at !== typeAt && !cut(at)) continue;
    const part = text.slice(start, at);
    const decides = list >= 0 && start <= list + 1 && list + 1 < at;
    const chosen = text.charAt(list + 1) === '{' ? report : 1 - report;
    const names = start === typeAt;
    const probability = decides ? chosen : names ? type : 1;
    const top = [token(part, probability)];
    const before = text.slice(start, list + 1);
    if (decides) top.push(token(`${before}${text.charAt(list + 1) === '{' ? ']' : '{"'}`, 1 - chosen));
    if (names) top.push(token('sta', 1 - type), token('nonsense', 0.5));
    tokens.push(create(TokenLogprobSchema, { ...plain(part, probability), top }));
    start = at;
  }
  return tokens;
}

/** A replica that reads images: `script` says what it answers, and `asked` has what it was asked. */
export function seeing(script: (request: GenerateRequest, number: number) => Script): Replica & {
  asked: GenerateRequest[];
} {
  const asked: GenerateRequest[] = [];
  return {
    asked,
    async *generate(request) {
      const number = asked.push(request);
      const answer = script(request, number);
      await breathe();
      yield { model: 'models:/eye/1.0.0' };
      const half = Math.ceil(answer.text.length / 2);
      const tokens = answer.mute ? [] : tokensOf(answer);
      yield { delta: answer.text.slice(0, half), logprobs: tokens.slice(0, 3) };
      yield { delta: answer.text.slice(half), logprobs: tokens.slice(3) };
      const usage = { inputTokens: 9, outputTokens: tokens.length, timeToFirstTokenMs: 4, durationMs: 5 };
      yield { finishReason: answer.finishReason ?? FinishReason.STOP, usage };
    },
    attend({ spans, completion }) {
      // It looks at the patch whose number is the first digit of the span's box.
      return {
        model: 'models:/eye/1.0.0',
        maps: spans.map(({ start, end }) => {
          const patch = Number(/\[(\d)/.exec(completion.slice(start, end))?.[1] ?? 0);
          return {
            images: [
              { rows: 2, columns: 4, weights: Array.from({ length: 8 }, (_, i) => Number(i === patch)) },
            ],
          };
        }),
      };
    },
  };
}

/** A grey picture. */
export function picture(width = 200, height = 100, shade = 128): Promise<Buffer> {
  const background = { r: shade, g: shade, b: shade };
  return sharp({ create: { width, height, channels: 3, background } })
    .png()
    .toBuffer();
}
