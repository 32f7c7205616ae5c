/** What a client asks to be continued. */

export interface ChatMessage {
  role: string;
  content: string;
  /** How many images it brings; `<image>` in the content says where one stands. */
  images?: number;
}

export type PromptInput = { text: string } | { messages: ChatMessage[] };

/** A part of a text, in UTF-16 code units. */
export interface TextSpan {
  start: number;
  end: number;
}

/** A prompt's tokens, and those of the completion that stands behind it where one was given. */
export interface Encoded {
  prompt: number[];
  completion: number[];
  /** Where in the prompt each image's tokens begin. */
  images: number[];
}

/** How images stand among a model's tokens. */
export interface ImageGrid {
  /** The token in whose places they stand. */
  token: number;
  /** Tokens that an image takes. */
  count: number;
  /** Those of them that stand before its patches. */
  before: number;
  /** Patches, row by row. */
  rows: number;
  columns: number;
}

/** Prompts of Florence-2: names of tasks, and the words that the model was trained on for each. */
export interface TaskForm {
  kind: 'task';
  /** Of tasks that need no words of the caller. */
  alone: Record<string, string>;
  /** Of those that do; `{input}` is where they stand. */
  withInput: Record<string, string>;
}

/**
 * How prompts are made: by a chat template; images, start token, text and a line break, of PaliGemma; or by tasks, images
 * standing outside of the text.
 */
export type PromptForm = { kind: 'chat' } | { kind: 'prefix' } | TaskForm;

/** How images stand in the prompts of a model whose images differ in the tokens that they take. */
export interface ImageText {
  /** The token in whose places they stand; undefined where they stand outside of the text. */
  token: number | undefined;
  form: PromptForm;
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
