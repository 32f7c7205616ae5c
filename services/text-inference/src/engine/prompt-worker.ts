/**
 * Entry of the thread that turns chats and texts into tokens. A long or hostile text can keep a tokenizer busy for
 * seconds; here it delays other prompts at most, not the service's event loop nor the model's steps.
 */

import { parentPort, workerData } from 'node:worker_threads';
import { CompiledConstraints } from './grammar/compile.ts';
import { ConstraintError } from './grammar/constraint.ts';
import type { GrammarSpec } from './grammar/grammar-state.ts';
import { PromptError } from './prompt.ts';
import type { EncodedParts, FromPrompt, PromptThreadOptions, ToPrompt } from './prompt-thread.ts';
import { tokensOfSpans } from './token-spans.ts';
import { loadTokenizer } from './tokenizer.ts';

const port = parentPort!;
const { folder, contextLength, images } = workerData as PromptThreadOptions;
const send = (message: FromPrompt) => port.postMessage(message);

try {
  const tokenizer = await loadTokenizer(folder, images);
  const constraints = new CompiledConstraints();
  const longest = contextLength * tokenizer.longestToken;
  port.on('message', (message: ToPrompt) => {
    if (message.type === 'close') return port.close();
    const { call } = message;
    try {
      if (message.type === 'compile') send({ type: 'grammar', call, grammar: compile(message) });
      else send({ type: 'tokens', call, encoded: encode(message) });
    } catch (error) {
      const field = error instanceof PromptError ? error.field : undefined;
      send({ type: 'refused', call, field, message: error instanceof Error ? error.message : String(error) });
    }
  });
  function encode({ input, completion, spans, seen }: ToPrompt & { type: 'encode' }): EncodedParts {
    const field = 'text' in input ? 'prompt' : 'messages';
    const length =
      'text' in input ? input.text.length : input.messages.reduce((n, m) => n + m.content.length, 0);
    // Known without splitting it: no text of this length is as few tokens as the context has.
    if (length > longest) throw new PromptError(field, tooLong(`${length} characters`, contextLength));
    if (completion !== undefined && completion.length > longest)
      throw new PromptError('completion', tooLong(`${completion.length} characters`, contextLength));
    const encoded =
      completion === undefined
        ? tokenizer.encode(input, seen)
        : tokenizer.encodeAnswered(input, completion, seen);
    const { length: size } = encoded.prompt;
    if (size >= contextLength) throw new PromptError(field, tooLong(`${size} tokens`, contextLength));
    const whole = size + encoded.completion.length;
    if (whole > contextLength)
      throw new PromptError(
        'completion',
        `with the prompt it is ${whole} tokens; the model's context is ${contextLength}`,
      );
    const parts = spans && tokensOfSpans(completion!, encoded.completion.map(bytesOf), spans);
    return { ...encoded, ...(parts ? { parts } : {}) };
  }
  function compile({ field, constraint }: ToPrompt & { type: 'compile' }): GrammarSpec {
    try {
      return constraints.compile(constraint);
    } catch (error) {
      if (error instanceof ConstraintError) throw new PromptError(field, error.message);
      throw error;
    }
  }
  function bytesOf(token: number): Uint8Array {
    return tokenizer.describe(token).bytes;
  }
  send({ type: 'ready' });
} catch (error) {
  send({ type: 'failed', message: error instanceof Error ? error.message : String(error) });
  port.close();
}

function tooLong(size: string, context: number): string {
  return `${size} leave no room for an answer in the model's context of ${context} tokens`;
}
