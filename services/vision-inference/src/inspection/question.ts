import { createHash } from 'node:crypto';
import type { ProfileSpec } from '@landfall/proto/landfall/vision/v1/profile_pb.js';

/** What a model is asked about an image. */
export interface Question {
  /** Text with `<image>` where the image stands. */
  prompt: string;
  /** JSON schema that its answer is held to. */
  schema: string;
  /** Enough for the longest answer that is meant. */
  maxTokens: number;
}

const DEFAULT_SCALE = 1000;
const DEFAULT_MOST = 16;

const PROMPTS: Record<string, string> = {
  zh: '<image>\n检测图中产品表面的缺陷。',
  en: '<image>\nInspect the surface of the product in the picture for defects.',
};

export const boxScale = ({ boxScale: scale }: ProfileSpec): number => scale || DEFAULT_SCALE;

export const mostDefects = ({ maxDefects }: ProfileSpec): number => maxDefects || DEFAULT_MOST;

const TOKENS = { defect: 160, line: 300, rest: 64 };

/**
 * What a profile asks. The order of the schema's members is that of the answer: what is seen, then what follows.
 * @param leastDefects that an answer names
 */
export function questionOf(spec: ProfileSpec, leastDefects = 0): Question {
  const properties: Record<string, unknown> = {};
  let maxTokens = TOKENS.rest;
  if (spec.defectTypes.length > 0) {
    const maxItems = mostDefects(spec);
    properties.defects = { type: 'array', minItems: leastDefects, maxItems, items: defectSchema(spec) };
    maxTokens += maxItems * TOKENS.defect;
  }
  const text = { type: 'string', minLength: 1 };
  for (const { id, maxLines } of spec.sections) {
    properties[id] = maxLines === 1 ? text : { type: 'array', minItems: 1, maxItems: maxLines, items: text };
    maxTokens += maxLines * TOKENS.line;
  }
  if (spec.modelWritesText) {
    Object.assign(properties, { conclusion: text, advice: text });
    maxTokens += 2 * TOKENS.line;
  }
  const prompt = spec.prompt || PROMPTS[spec.language]!;
  return { prompt, schema: JSON.stringify(objectOf(properties)), maxTokens };
}

/** How often a model is asked about an image: more than once only where there are defects to agree on. */
export const looksOf = ({ looks, defectTypes }: ProfileSpec): number =>
  defectTypes.length > 0 ? Math.max(1, looks) : 1;

/** How a model was asked: confidences of reports that were asked for otherwise mean something else. */
export interface Asked {
  promptDigest: string;
  looks: number;
}

/** How a profile has models asked. */
export const askedBy = (spec: ProfileSpec): Asked => ({
  promptDigest: questionDigest(questionOf(spec)),
  looks: looksOf(spec),
});

/** `sha256:...` of what is asked, to tell whether two reports were asked alike. */
export function questionDigest({ prompt, schema }: Question): string {
  return `sha256:${createHash('sha256')
    .update(JSON.stringify([prompt, schema]))
    .digest('hex')}`;
}

function defectSchema(spec: ProfileSpec): object {
  const edge = { type: 'integer', minimum: 0, maximum: boxScale(spec) };
  return objectOf({
    type: { enum: spec.defectTypes.map(({ id }) => id) },
    severity: { enum: ['slight', 'moderate', 'severe'] },
    box: { type: 'array', minItems: 4, maxItems: 4, items: edge },
  });
}

const objectOf = (properties: Record<string, unknown>): object => ({
  ...{ type: 'object', properties, required: Object.keys(properties), additionalProperties: false },
});
