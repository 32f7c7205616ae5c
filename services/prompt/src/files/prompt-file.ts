import { create, fromJson, type JsonObject, type JsonValue, toJson } from '@bufbuild/protobuf';
import { invalidArgument } from '@landfall/common/errors/errors.ts';
import { type PromptFile, PromptFileSchema } from '@landfall/proto/landfall/prompt/v1/library_service_pb.js';
import { TemplateMessageSchema } from '@landfall/proto/landfall/prompt/v1/prompt_pb.js';
import { PromptDraftSchema } from '@landfall/proto/landfall/prompt/v1/prompt_service_pb.js';
import { Document, Scalar, visit } from 'yaml';
import { fullNames, shortNames } from './enum-names.ts';
import { readHead } from './yaml-head.ts';

/** First member of a file, and the form that it is written in. */
const FORM = 'landfall_prompt';
const HEAD = ['name', 'version', 'description', 'task', 'language'];
/** Texts that YAML's lighter forms hold as they are: no control characters, no odd white space, none at the ends. */
const PLAIN = /^(?:[^\s\p{C}](?:[^\p{C}\p{Zl}\p{Zp}]|\n)*)?$(?<![^\S\n]|\n\n)/u;
const TURN = /^(:{3,}) (system|user|assistant)$/;

/**
 * A prompt as a file for people and git: YAML between two lines `---` (a ProtoJSON of the draft in the contract's names,
 * members of enumerations in short), then the turns as they are, each under a line `::: role`. There are as many colons
 * as no line of a turn has.
 */
export function writePromptFile(file: PromptFile): string {
  const { draft, ...head } = shortNames(
    PromptFileSchema,
    toJson(PromptFileSchema, file, { useProtoFieldName: true }) as JsonObject,
  );
  const { messages: _messages, ...rest } = draft as JsonObject;
  const data = { [FORM]: 1, ...head, ...withSchemaAsData(rest) };
  const document = new Document(data, { version: '1.2', aliasDuplicateObjects: false });
  visit(document, {
    Scalar: (_key, scalar) => {
      if (typeof scalar.value === 'string' && !PLAIN.test(scalar.value)) scalar.type = Scalar.QUOTE_DOUBLE;
    },
  });
  const yaml = document.toString({ lineWidth: 0 });
  const turns = file.draft?.messages ?? [];
  const colons = ':'.repeat(colonsFor(turns.map(({ template }) => template)));
  return `---\n${yaml}---\n${turns.map(({ role, template }) => `${colons} ${role}\n${template}\n`).join('')}`;
}

/**
 * Reads what `writePromptFile` writes, and what people make of it. Line ends of Windows are taken where the first is one.
 * @param field for errors
 * @throws LandfallError INVALID_ARGUMENT with the line or the member that is wrong
 */
export function readPromptFile(text: string, field: string): PromptFile {
  const content = text.startsWith('\ufeff') ? text.slice(1) : text;
  const lines = (/^---\r\n/.test(content) ? content.replaceAll('\r\n', '\n') : content).split('\n');
  if (lines[0] !== '---') throw invalidArgument(field, 'line 1: a prompt file begins with a line ---');
  const end = lines.indexOf('---', 1);
  if (end < 0) throw invalidArgument(field, 'the line --- that ends the head is missing');
  const { [FORM]: form, ...data } = readHead(lines.slice(1, end).join('\n'), field);
  if (form !== 1)
    throw invalidArgument(field, `the head begins with '${FORM}: 1', which tells the form of the file`);
  const messages = readTurns(lines.slice(end + 1), end + 2, field);
  const head = Object.fromEntries(Object.entries(data).filter(([key]) => HEAD.includes(key)));
  const rest = Object.fromEntries(Object.entries(data).filter(([key]) => !HEAD.includes(key)));
  if ('messages' in rest || 'text' in rest)
    throw invalidArgument(field, 'turns stand below the head, each under a line ::: role');
  const draft = parsed(PromptDraftSchema, withSchemaAsText(rest), field);
  draft.messages = messages.map((message) => create(TemplateMessageSchema, message));
  return create(PromptFileSchema, { ...parsed(PromptFileSchema, head, field), draft });
}

function parsed<D extends typeof PromptFileSchema | typeof PromptDraftSchema>(
  desc: D,
  json: JsonObject,
  field: string,
) {
  try {
    return fromJson<D>(desc, fullNames(desc, json));
  } catch (cause) {
    const why = cause instanceof Error ? cause.message.slice(0, 300) : 'not readable';
    throw invalidArgument(field, `the head is no prompt: ${why}`, { cause });
  }
}

function readTurns(
  lines: readonly string[],
  firstLine: number,
  field: string,
): { role: string; template: string }[] {
  const first = TURN.exec(lines[0] ?? '');
  if (!first)
    throw invalidArgument(
      field,
      `line ${firstLine}: a line ::: system, ::: user or ::: assistant begins the turns`,
    );
  const turns: { role: string; lines: string[] }[] = [];
  for (const line of lines) {
    const head = TURN.exec(line);
    if (head && head[1] === first[1]) turns.push({ role: head[2]!, lines: [] });
    else turns.at(-1)!.lines.push(line);
  }
  // Each turn ends with a line end of the file's own; the last line of a file without one is taken too.
  if (turns.at(-1)!.lines.at(-1) === '') turns.at(-1)!.lines.pop();
  return turns.map(({ role, lines: own }) => ({ role, template: own.join('\n') }));
}

function colonsFor(templates: readonly string[]): number {
  const taken = templates.flatMap((template) =>
    template.split('\n').flatMap((line) => TURN.exec(line)?.[1]?.length ?? []),
  );
  let colons = 3;
  while (taken.includes(colons)) colons++;
  return colons;
}

/** A schema is easier to review as YAML than as JSON in a text; where that would lose how it is written, it stays a text. */
function withSchemaAsData(draft: JsonObject): JsonObject {
  const contract = draft.output_contract as JsonObject | undefined;
  const text = contract?.json_schema;
  if (typeof text !== 'string') return draft;
  try {
    const data = JSON.parse(text) as JsonValue;
    const same = JSON.stringify(data) === text && typeof data === 'object' && data !== null;
    return same ? { ...draft, output_contract: { ...contract, json_schema: data } } : draft;
  } catch {
    return draft;
  }
}

function withSchemaAsText(draft: JsonObject): JsonObject {
  const contract = draft.output_contract as JsonObject | undefined;
  const schema = contract?.json_schema;
  if (typeof schema !== 'object' || schema === null) return draft;
  return { ...draft, output_contract: { ...contract, json_schema: JSON.stringify(schema) } };
}
