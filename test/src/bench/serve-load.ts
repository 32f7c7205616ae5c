import { median } from './report.ts';
import type { Answered, Asked, Target } from './serve-target.ts';

/** One round of a closed loop: a client a stream, each with one request at a time. */
export interface Round {
  /** Output tokens of all streams over the time from the first request to the last token. */
  tokensPerSecond: number;
  /** Of each request. */
  firstTokenMs: number[];
  /** Between one stream's pieces of text. */
  gapsMs: number[];
  /** What each prompt was answered with. */
  answers: Map<string, string>;
}

export interface Middle {
  tokensPerSecond: number;
  firstTokenMs: number;
  gapMs: number;
}

/**
 * @param streams the requests of each stream, one after another
 * @throws Error where a server counts another number of tokens than was asked
 */
export async function closedLoop(
  target: Target,
  streams: readonly (readonly Asked[])[],
  promptTokens: number,
): Promise<Round> {
  const round: Round = { tokensPerSecond: 0, firstTokenMs: [], gapsMs: [], answers: new Map() };
  let tokens = 0;
  const start = performance.now();
  let end = start;
  const client = async (requests: readonly Asked[]) => {
    for (const asked of requests) {
      const at = performance.now();
      const answered = await target.generate(asked);
      checkCounts(asked, answered, promptTokens);
      const { arrivals, outputTokens } = answered;
      tokens += outputTokens;
      end = Math.max(end, arrivals.at(-1)!);
      round.firstTokenMs.push(arrivals[0]! - at);
      round.gapsMs.push(...gaps(arrivals));
      round.answers.set(asked.prompt, answered.text);
    }
  };
  await Promise.all(streams.map(client));
  round.tokensPerSecond = tokens / ((end - start) / 1000);
  return round;
}

export const gaps = (arrivals: readonly number[]): number[] =>
  arrivals.slice(1).map((at, i) => at - arrivals[i]!);

/** Share of one side's answers that the other side gives too. */
export function sameAnswers(ours: readonly Round[], peer: readonly Round[]): number {
  const theirs = new Map(peer.flatMap(({ answers }) => [...answers]));
  const mine = ours.flatMap(({ answers }) => [...answers]);
  return mine.filter(([prompt, text]) => theirs.get(prompt) === text).length / mine.length;
}

/** The middle of the rounds' speeds, and of all requests' and tokens' times. */
export function middle(rounds: readonly Round[]): Middle {
  return {
    tokensPerSecond: median(rounds.map((round) => round.tokensPerSecond)),
    firstTokenMs: median(rounds.flatMap((round) => round.firstTokenMs)),
    gapMs: median(rounds.flatMap((round) => round.gapsMs)),
  };
}

const LETTERS = 'abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ';

/** Letters at random. Each is a token of make-model's tokenizer, which has no merges; closedLoop checks the count. */
export function promptOf(tokens: number, random: () => number): string {
  return Array.from({ length: tokens }, () => LETTERS[Math.floor(random() * LETTERS.length)]).join('');
}

/** What requests are made of. */
export interface RequestOptions {
  /** Tokens of a prompt, tokens of its answer, requests of a stream. */
  prompt: number;
  output: number;
  each: number;
  random: () => number;
}

/** New prompts for every round, so that no cache of prefixes answers any. */
export function requestsOf(streams: number, options: RequestOptions): Asked[][] {
  const asked = () => ({ prompt: promptOf(options.prompt, options.random), maxTokens: options.output });
  return Array.from({ length: streams }, () => Array.from({ length: options.each }, asked));
}

function checkCounts({ maxTokens }: Asked, { inputTokens, outputTokens }: Answered, promptTokens: number) {
  if (inputTokens === promptTokens && outputTokens === maxTokens) return;
  throw new Error(
    `asked for ${promptTokens} tokens in and ${maxTokens} out, the server counts ${inputTokens} and ${outputTokens}: ` +
      'prompts are one token a letter, so serve a model of `npm run bench -- make-model`',
  );
}
