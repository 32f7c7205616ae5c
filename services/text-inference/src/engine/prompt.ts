/** What a client asks to be continued. */

export interface ChatMessage {
  role: string;
  content: string;
}

export type PromptInput = { text: string } | { messages: ChatMessage[] };

/** A prompt's tokens, and those of the completion that stands behind it where one was given. */
export interface Encoded {
  prompt: number[];
  completion: number[];
}

/** The prompt can't be used; `field` names what is wrong with the request's own path. */
export class PromptError extends Error {
  override name = 'PromptError';
  readonly field: string;
  constructor(field: string, message: string) {
    super(message);
    this.field = field;
  }
}
