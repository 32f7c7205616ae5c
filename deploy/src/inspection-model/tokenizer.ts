import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { SEVERITIES } from '@landfall/surfaces/severity.ts';
import { DEFECT_TYPES } from '@landfall/surfaces/surface.ts';
import { SPECIAL, trainBpe, writeTokenizer } from '../base-model/tokenizer.ts';
import { ANSWER_SCALE, PROMPTS } from './answer.ts';

/** The parts that answers are made of, one token each. */
export const PARTS: readonly string[] = [
  '{"defects":[',
  '{"type":"',
  ',{"type":"',
  '","severity":"',
  '","box":[',
  ',',
  ']}',
  ...DEFECT_TYPES,
  ...SEVERITIES,
  ...Array.from({ length: ANSWER_SCALE + 1 }, (_, place) => String(place)),
];

/** Words of inspection, so that questions take few tokens; any other text is spelt in bytes. */
const WORDS = [
  ...Object.values(PROMPTS).map((prompt) => prompt.replace('<image>', '')),
  '图中有什么缺陷?裂纹、变形、划痕、污渍。表面没有缺陷,产品合格。严重程度:轻微、中等、严重。',
  'Which defects are in the picture? A crack, a deformation, a scratch, a stain. The surface is sound.',
];
const MERGES = 160;

/**
 * A byte-level BPE of few merges with answers' parts as tokens of their own, written as Hugging Face's tokenizers read
 * it.
 * @returns how many tokens there are, and the image's
 */
export function writeInspectionTokenizer(folder: string): { vocabularySize: number; imageToken: number } {
  // Each text twice: a pair that comes once is not merged.
  const bpe = trainBpe([...WORDS, ...WORDS], SPECIAL.length + 256 + MERGES);
  writeTokenizer(folder, bpe);
  const file = join(folder, 'tokenizer.json');
  const json = JSON.parse(readFileSync(file, 'utf8')) as { added_tokens: object[] };
  const add = (content: string, special: boolean) => {
    const id = bpe.vocabulary.get(content) ?? next++;
    const flags = { single_word: false, lstrip: false, rstrip: false, normalized: false };
    json.added_tokens.push({ id, content, ...flags, special });
    return id;
  };
  let next = bpe.vocabulary.size;
  const imageToken = add('<image>', true);
  for (const part of PARTS) add(part, false);
  writeFileSync(file, `${JSON.stringify(json)}\n`);
  return { vocabularySize: next, imageToken };
}
