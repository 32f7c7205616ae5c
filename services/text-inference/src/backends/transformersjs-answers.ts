import type { GrammarSpec, GrammarState } from '../engine/grammar/grammar-state.ts';
import { PostProcessor } from '../engine/post-process.ts';
import type { DescribedToken } from '../engine/protocol.ts';
import type { Sampled } from '../engine/sampler.ts';
import type { EngineRequest } from '../engine/sequence.ts';
import { SequenceSampler } from '../engine/sequence-sampler.ts';
import type { Tokenizer } from '../engine/tokenizer.ts';
import type { JobEvent } from './transformersjs-protocol.ts';

interface Answer {
  request: EngineRequest;
  sampler: SequenceSampler;
  post: PostProcessor;
  tokens: number;
  ended: boolean;
}

/** The n answers of one request: chooses their tokens and tells of them as text. */
export class Answers {
  readonly #answers: Answer[];
  readonly #tokenizer: Tokenizer;
  readonly #tell: (event: JobEvent) => void;

  /** @param requests one for each answer. @param grammarStart begins a text in a language */
  constructor(
    requests: EngineRequest[],
    tokenizer: Tokenizer,
    grammarStart: (spec: GrammarSpec) => GrammarState,
    tell: (event: JobEvent) => void,
  ) {
    this.#tokenizer = tokenizer;
    this.#tell = tell;
    const ends = new Set(tokenizer.endTokens);
    this.#answers = requests.map((request) => {
      const { sampling, prompt, grammar } = request;
      const sampler = new SequenceSampler(sampling, prompt, grammar && grammarStart(grammar));
      const post = new PostProcessor(request, (tokens) => tokenizer.decode(tokens), ends);
      return { request, sampler, post, tokens: 0, ended: false };
    });
  }

  get done(): boolean {
    return this.#answers.every(({ ended }) => ended);
  }

  /**
   * The next token of an answer. One that has ended goes on with any, since the batch stays whole; nobody hears of it.
   * @param logits [vocabulary]
   */
  next(index: number, logits: Float32Array): number {
    const answer = this.#answers[index]!;
    if (answer.ended) return this.#tokenizer.endTokens[0] ?? 0;
    const sampled = answer.sampler.next(logits, answer.request.prompt.length + answer.tokens);
    answer.sampler.accept(sampled.token);
    answer.tokens++;
    const piece = answer.post.next(sampled.token, answer.tokens);
    answer.ended = piece.finish !== undefined;
    const logprob = this.#described(sampled);
    this.#tell({ ...piece, index, ...(logprob ? { logprob } : {}) });
    return sampled.token;
  }

  #described({ token, logprob, top = [] }: Sampled): JobEvent['logprob'] {
    if (logprob === undefined) return undefined;
    const describe = (id: number, value: number): DescribedToken => ({
      ...this.#tokenizer.describe(id),
      logprob: value,
    });
    return { ...describe(token, logprob), top: top.map((each) => describe(each.token, each.logprob)) };
  }
}
