/** The model's own chat template: what it writes around messages. */

import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import type { Message, PreTrainedTokenizer } from '@huggingface/transformers';
import { readJsonObject } from '@landfall/graph/checkpoint/read-json.ts';
import type { TemplateMessage } from './image-places.ts';
import { alternatives } from './plain-text.ts';
import { PromptError } from './prompt.ts';

const PROBE = 'landfall-answer';

export class ChatTemplate {
  readonly #tokenizer: PreTrainedTokenizer;
  readonly #template: string | undefined;

  constructor(tokenizer: PreTrainedTokenizer, folder: string) {
    this.#tokenizer = tokenizer;
    this.#template = readTemplate(folder);
  }

  /**
   * The chat as one text.
   * @param forAnswer with what stands before an answer at its end
   * @throws PromptError where there is no template, or it refuses the messages
   */
  render(messages: TemplateMessage[], forAnswer = true): string {
    if (!this.#template && !this.#tokenizer.chat_template) {
      throw new PromptError('messages', 'this model has no chat template: give prompt instead of messages');
    }
    try {
      const options = {
        tokenize: false as const,
        add_generation_prompt: forAnswer,
        chat_template: this.#template ?? null,
      };
      return this.#tokenizer.apply_chat_template(messages as Message[], options) as string;
    } catch (error) {
      // Templates refuse what they don't know (roles that don't alternate, a system message) by throwing.
      const reason = error instanceof Error ? error.message : String(error);
      throw new PromptError('messages', `the model's chat template refused the messages: ${reason}`);
    }
  }

  /**
   * What the template writes behind an answer, up to its first special token; later ones are never generated.
   * @param byParts whether it takes the parts of messages one by one
   */
  endOfTurn(specials: readonly string[], byParts: boolean): string {
    const content = (text: string) => (byParts ? [{ type: 'text' as const, text }] : text);
    const turns = [
      { role: 'user', content: content('?') },
      { role: 'assistant', content: content(PROBE) },
    ];
    const chat = this.render(turns, false);
    const at = chat.lastIndexOf(PROBE);
    if (at < 0) return '';
    const rest = chat.slice(at + PROBE.length);
    const found = alternatives([...specials])?.exec(rest);
    return found ? rest.slice(0, found.index) + found[0] : '';
  }
}

/** Folders may keep the template in a file of its own, or of their processor, which transformers.js does not read. */
function readTemplate(folder: string): string | undefined {
  const file = path.join(folder, 'chat_template.jinja');
  if (existsSync(file)) return readFileSync(file, 'utf8');
  if (!existsSync(path.join(folder, 'chat_template.json'))) return undefined;
  const { chat_template: template } = readJsonObject(folder, 'chat_template.json');
  return typeof template === 'string' ? template : undefined;
}
