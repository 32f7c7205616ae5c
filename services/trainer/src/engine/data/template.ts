import type { Example } from './example.ts';
import type { Tokenizer } from './tokenizer.ts';

/** The prompt where no template is given; the answer follows it directly. */
export const DEFAULT_TEMPLATE = '### 问题:{question}\n### 回答:';

/** The model's own chat template around the question alone. */
export const CHAT = 'chat';

/** How a question becomes a prompt, and an answer the rest of the sequence. */
export interface PromptTemplate {
  /** True when it goes through the model's chat template. */
  chat: boolean;
  /** The text with `{question}`. */
  text: string;
}

/**
 * Reads the templates of a run. Empty: the default one, outside any chat template.
 *
 * @throws Error naming the template that can't be used with this model
 */
export function parseTemplates(templates: readonly string[], hasChatTemplate: boolean): PromptTemplate[] {
  if (templates.length === 0) return [{ chat: false, text: DEFAULT_TEMPLATE }];
  return templates.map((text) => {
    if (text === CHAT) {
      if (!hasChatTemplate) throw new Error('template `chat` needs a chat template, and the model has none');
      return { chat: true, text: '{question}' };
    }
    if (!text.includes('{question}')) throw new Error(`template ${JSON.stringify(text)} lacks {question}`);
    return { chat: hasChatTemplate, text };
  });
}

/** The question in its template: a user's turn, or the whole prompt. */
export function fill(template: PromptTemplate, question: string): string {
  // A function as the replacement, since `$&` in a question is text.
  return template.text.replaceAll('{question}', () => question);
}

/** Whether a row goes through the model's chat template: images do always, since they are served so. */
export function goesThroughChat(template: PromptTemplate, { messages, images }: Example): boolean {
  return template.chat || messages !== undefined || images !== undefined;
}

/** A prompt's text and what follows it up to the end of the answer's turn. */
export interface Rendered {
  prompt: string;
  /** Answer, then the end of its turn as the chat template writes it. */
  completion: string;
  /** False when no end token is in `completion` yet. */
  ended: boolean;
}

/**
 * A row as the text that the model sees, guarded against special tokens in the data. A conversation goes through the
 * model's chat template whatever the template; its last turn is what is learnt.
 *
 * @throws Error for a conversation where the model has no chat template
 */
export function renderExample(template: PromptTemplate, tokenizer: Tokenizer, example: Example): Rendered {
  const answered = tokenizer.guard(example.answer);
  if (!goesThroughChat(template, example)) {
    const prompt = tokenizer.guard(fill(template, example.question));
    return { prompt, completion: answered, ended: false };
  }
  const turns = example.messages?.slice(0, -1) ?? [
    { role: 'user' as const, content: fill(template, example.question) },
  ];
  const safe = example.images ? tokenizer.placeImages! : tokenizer.guard;
  const guarded = turns.map(({ role, content }) => ({ role, content: safe(content) }));
  const prompt = tokenizer.renderChat(guarded, true);
  const end = turnEnd(tokenizer);
  return { prompt, completion: answered + end, ended: end !== '' };
}

const PROBE = 'landfall-answer';

/** What the chat template writes behind an answer, up to its first special token; later ones are never generated. */
function turnEnd(tokenizer: Tokenizer): string {
  const chat = tokenizer.renderChat(
    [
      { role: 'user', content: '?' },
      { role: 'assistant', content: PROBE },
    ],
    false,
  );
  const at = chat.lastIndexOf(PROBE);
  if (at < 0) return '';
  const rest = chat.slice(at + PROBE.length);
  let end = '';
  let first = rest.length;
  for (const special of tokenizer.specialTokens) {
    const found = rest.indexOf(special);
    if (found >= 0 && (found < first || (found === first && special.length > end.length))) {
      first = found;
      end = special;
    }
  }
  return end === '' ? '' : rest.slice(0, first) + end;
}
