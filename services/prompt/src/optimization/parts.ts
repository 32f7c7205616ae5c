import { create } from '@bufbuild/protobuf';
import { TemplateFormat, TemplateMessageSchema } from '@landfall/proto/landfall/prompt/v1/prompt_pb.js';
import { type PromptDraft, PromptDraftSchema } from '@landfall/proto/landfall/prompt/v1/prompt_service_pb.js';

/** What the last turn of the user says, taken apart. */
export interface Parts {
  /** The text without its variables' places. */
  instruction: string;
  /** Variables in the order of their places. */
  variables: string[];
  /** All variables as a block: alone, or each in a line with its name. */
  input: string;
}

const PLACE = /\{\{([A-Za-z_][A-Za-z0-9_]{0,63})\}\}|\{([A-Za-z_][A-Za-z0-9_]{0,63})\}/g;
/** Left over at the ends of an instruction whose variables were taken out. */
const LOOSE = /^[\s,,.。;;::、!!]+|[\s,,;;::、]+$/g;
/** The place of few-shot examples is no input. */
const EXAMPLES = 'examples';

/** Whether the turns can be written anew: Jinja's conditions and loops can't be taken apart. */
export const canRewrite = ({ format, messages }: PromptDraft): boolean =>
  format !== TemplateFormat.JINJA && messages.some(({ role }) => role === 'user');

/** The draft's last turn of the user. */
export function partsOf({ messages }: PromptDraft): Parts {
  const template = messages.findLast(({ role }) => role === 'user')?.template ?? '';
  const variables: string[] = [];
  const text = template.replace(PLACE, (whole, _literal, name: string | undefined) => {
    if (name === undefined) return whole;
    if (name !== EXAMPLES && !variables.includes(name)) variables.push(name);
    return '\n';
  });
  const instruction = text
    .split('\n')
    .map((line) => line.replace(LOOSE, ''))
    .filter((line) => line !== '')
    .join('\n');
  const input =
    variables.length === 1 ? `{${variables[0]}}` : variables.map((name) => `${name}: {${name}}`).join('\n');
  return { instruction, variables, input };
}

/** A draft with another last turn of the user; `system` goes behind what the first turn of the system says. */
export function withTurn(draft: PromptDraft, template: string, system?: string): PromptDraft {
  const at = draft.messages.findLastIndex(({ role }) => role === 'user');
  const messages = draft.messages.map((message, i) =>
    i === at ? create(TemplateMessageSchema, { role: 'user', template }) : message,
  );
  if (system !== undefined) {
    const known = messages.findIndex(({ role }) => role === 'system');
    const before = known >= 0 ? `${messages[known]!.template}\n\n` : '';
    const turn = create(TemplateMessageSchema, { role: 'system', template: before + system });
    messages.splice(Math.max(0, known), known >= 0 ? 1 : 0, turn);
  }
  return create(PromptDraftSchema, { ...draft, messages });
}

/** A text that is no template of ours, as a template says it: a name in braces stays text. */
export const escapeTemplate = (text: string): string =>
  text.replace(/\{+[A-Za-z_][A-Za-z0-9_]{0,63}\}+|\{>/g, (found) =>
    found === '{>' ? '{ >' : `{{${found.replace(/[{}]/g, '')}}}`,
  );
