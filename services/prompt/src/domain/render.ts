import { create, type JsonObject } from '@bufbuild/protobuf';
import { failedPrecondition } from '@landfall/common/errors/errors.ts';
import type { FewShot } from '@landfall/proto/landfall/prompt/v1/few_shot_pb.js';
import {
  TemplateFormat,
  type TemplateMessage,
  VariableType,
} from '@landfall/proto/landfall/prompt/v1/prompt_pb.js';
import type { PromptDraft } from '@landfall/proto/landfall/prompt/v1/prompt_service_pb.js';
import { type ChatMessage, ChatMessageSchema } from '@landfall/proto/landfall/text/v1/generation_pb.js';
import { Budget, type ImagePlace } from './budget.ts';
import { type Chosen, chooseExamples, exampleTemplate, OUTPUT } from './few-shot.ts';
import { allVariables, NO_PARTS, type Parts } from './parts.ts';
import { readTemplate } from './read-template.ts';
import { EXAMPLES, type Example, type Filling, Picture, type Run } from './template.ts';
import { type Value, variableValues } from './variables.ts';

/** A picture's place in a rendered prompt. */
export interface RenderedImage extends ImagePlace {
  /** Position of its turn, from 0. */
  turn: number;
}

export interface Rendered {
  messages: ChatMessage[];
  /** In the order that `<image>` stands for them. */
  images: RenderedImage[];
  /** Positions of the few-shot examples that were put in, in their order. */
  examples: number[];
}

/**
 * The turns of a version with values in their places, for a model of texts.
 * @param maxLength characters of all turns together
 * @throws LandfallError as `renderDraft`, and FAILED_PRECONDITION where a picture is put in, which such a model can't see
 */
export function render(
  draft: PromptDraft,
  given: JsonObject,
  maxLength: number,
  parts: Parts = NO_PARTS,
): ChatMessage[] {
  const { messages, images } = renderDraft(draft, given, maxLength, parts);
  if (images[0]) {
    throw failedPrecondition(
      `'${images[0].variable}' holds a picture, which a text deployment can't see; render the prompt with RenderPrompt and give turns and pictures to VisionInferenceService`,
      { reason: 'PICTURES_NOT_TAKEN' },
    );
  }
  return messages;
}

/**
 * The same with what was put in.
 * @param parts other prompts that the draft names, by reference: see `loadParts`
 * @throws LandfallError INVALID_ARGUMENT for a value that does not fit (`variables.NAME`) or a result beyond `maxLength`,
 *   RESOURCE_EXHAUSTED for a template that costs too much
 */
export function renderDraft(
  draft: PromptDraft,
  given: JsonObject,
  maxLength: number,
  parts: Parts = NO_PARTS,
): Rendered {
  const variables = allVariables(draft, parts);
  const values = variableValues(variables, given);
  const chosen = draft.fewShot ? chooseExamples(draft.fewShot, variables, values) : [];
  const pictures = variables.filter(({ type }) => type === VariableType.IMAGE).map(({ name }) => name);
  const rendering = { draft, parts, pictures, chosen, budget: new Budget(maxLength) };
  const rendered: Rendered = { messages: [], images: [], examples: chosen.map(({ position }) => position) };
  const add = (role: string) => {
    const { text, images } = rendering.budget.take();
    for (const image of images) rendered.images.push({ ...image, turn: rendered.messages.length });
    rendered.messages.push(create(ChatMessageSchema, { role, content: text }));
  };
  const asked = draft.messages.findLastIndex(({ role }) => role === 'user');
  const asTurns = !placeOfExamples(draft);
  for (const [i, message] of draft.messages.entries()) {
    for (const { values: example } of asTurns && i === asked ? chosen : []) {
      fill(rendering, message, example);
      add('user');
      rendering.budget.emit(String(example.get(OUTPUT)));
      add('assistant');
    }
    fill(rendering, message, values);
    add(message.role);
  }
  return rendered;
}

/** Whether the turns say where examples stand. */
export const placeOfExamples = ({ format, messages }: PromptDraft): boolean =>
  messages.some(({ template }) => readTemplate(format, template, 'messages').variables.includes(EXAMPLES));

interface Rendering {
  draft: PromptDraft;
  parts: Parts;
  budget: Budget;
  /** Names of the variables that hold pictures. */
  pictures: readonly string[];
  chosen: readonly Chosen[];
}

function fill(rendering: Rendering, message: TemplateMessage, values: ReadonlyMap<string, Value>): void {
  const { draft, parts, pictures, chosen, budget } = rendering;
  const run: Run = {
    budget,
    values: filling(values, pictures),
    include: (reference) => {
      budget.charge(16);
      const part = parts.get(reference);
      if (!part)
        throw failedPrecondition(`'${reference}' was not read to be put in`, { reason: 'PART_MISSING' });
      readTemplate(part.draft.format, part.draft.messages[0]!.template, reference).fill(run);
    },
    emitExamples: draft.fewShot && (() => emitExamples(rendering, draft.fewShot!, run)),
  };
  if (draft.fewShot && draft.format === TemplateFormat.JINJA) {
    const examples: readonly Example[] = chosen.map((one) => filling(one.values, pictures));
    readTemplate(draft.format, message.template, 'messages').fill({
      ...run,
      values: new Map<string, Filling>(run.values).set(EXAMPLES, examples),
    });
    return;
  }
  readTemplate(draft.format, message.template, 'messages').fill(run);
}

/** The chosen examples one after the other, an empty line between them. */
function emitExamples({ chosen, pictures }: Rendering, fewShot: FewShot, run: Run): void {
  for (const [i, { values }] of chosen.entries()) {
    if (i > 0) run.budget.emit('\n\n');
    exampleTemplate(fewShot, values).fill({
      ...run,
      values: filling(values, pictures),
      emitExamples: undefined,
    });
  }
}

/** Values with pictures told from texts. */
function filling(
  values: ReadonlyMap<string, Value>,
  pictures: readonly string[],
): ReadonlyMap<string, Value | Picture> {
  if (pictures.length === 0) return values;
  const filled = new Map<string, Value | Picture>(values);
  for (const name of pictures) {
    const reference = values.get(name);
    if (typeof reference === 'string') filled.set(name, new Picture(name, reference));
  }
  return filled;
}
