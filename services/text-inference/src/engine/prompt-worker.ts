/**
 * Entry of the thread that turns chats and texts into tokens. A long or hostile text can keep a tokenizer busy for
 * seconds; here it delays other prompts at most, not the service's event loop nor the model's steps.
 */

import { parentPort, workerData } from 'node:worker_threads';
import { PromptError, type PromptInput } from './prompt.ts';
import type { FromPrompt, PromptThreadOptions, ToPrompt } from './prompt-thread.ts';
import { loadTokenizer } from './tokenizer.ts';

const port = parentPort!;
const { folder, contextLength } = workerData as PromptThreadOptions;
const send = (message: FromPrompt) => port.postMessage(message);

try {
  const tokenizer = await loadTokenizer(folder);
  const longest = contextLength * tokenizer.longestToken;
  port.on('message', (message: ToPrompt) => {
    if (message.type === 'close') return port.close();
    const { call, input } = message;
    try {
      send({ type: 'tokens', call, tokens: encode(input) });
    } catch (error) {
      const field = error instanceof PromptError ? error.field : undefined;
      send({ type: 'refused', call, field, message: error instanceof Error ? error.message : String(error) });
    }
  });
  function encode(input: PromptInput): number[] {
    const field = 'text' in input ? 'prompt' : 'messages';
    const length =
      'text' in input ? input.text.length : input.messages.reduce((n, m) => n + m.content.length, 0);
    // Known without splitting it: no text of this length is as few tokens as the context has.
    if (length > longest) throw new PromptError(field, tooLong(`${length} characters`, contextLength));
    const tokens = 'text' in input ? tokenizer.encodeText(input.text) : tokenizer.encodeChat(input.messages);
    if (tokens.length >= contextLength)
      throw new PromptError(field, tooLong(`${tokens.length} tokens`, contextLength));
    return tokens;
  }
  send({ type: 'ready' });
} catch (error) {
  send({ type: 'failed', message: error instanceof Error ? error.message : String(error) });
  port.close();
}

function tooLong(size: string, context: number): string {
  return `${size} leave no room for an answer in the model's context of ${context} tokens`;
}
