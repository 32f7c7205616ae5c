import { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { initialClipWeights } from '@landfall/graph/checkpoint/initial-clip.ts';
import { writeModel } from '@landfall/graph/checkpoint/write-model.ts';
import { randomOf } from '@landfall/metrics/random.ts';
import { MATERIALS, type Material, makeSurface } from '@landfall/surfaces/surface.ts';
import sharp from 'sharp';

const SIDE = 32;

/**
 * A CLIP of two small towers, its tokenizer of letters, and its image processor.
 * @param seed some first weights take materials apart as captions happen to lie; with this one a quarter is found, as by chance
 */
export function writeTinyClip(folder: string, seed = 4n): void {
  mkdirSync(folder, { recursive: true });
  const letters = [...'abcdefghijklmnopqrstuvwxyz.'];
  // The end token is not 2: models that say so are read in another way.
  const vocabulary = ['<pad>', '<|startoftext|>', 'unused', '<|endoftext|>', ...letters];
  vocabulary.push(...letters.map((letter) => `${letter}</w>`));
  const id = (token: string) => vocabulary.indexOf(token);
  const tower = { hidden_size: 32, intermediate_size: 64, num_hidden_layers: 2, num_attention_heads: 2 };
  const config = {
    architectures: ['CLIPModel'],
    model_type: 'clip',
    projection_dim: 16,
    text_config: {
      ...tower,
      vocab_size: vocabulary.length,
      max_position_embeddings: 32,
      bos_token_id: id('<|startoftext|>'),
      eos_token_id: id('<|endoftext|>'),
    },
    vision_config: { ...tower, image_size: SIDE, patch_size: 8, num_channels: 3 },
  };
  writeModel(folder, config, initialClipWeights(config, randomOf(seed, 'clip')));
  const write = (name: string, value: unknown) =>
    writeFileSync(path.join(folder, name), JSON.stringify(value));
  const mark = (token: string) => ({ SpecialToken: { id: token, type_id: 0 } });
  write('tokenizer.json', {
    version: '1.0',
    added_tokens: ['<pad>', '<|startoftext|>', '<|endoftext|>'].map((content) => ({
      ...{ id: id(content), content, single_word: false, lstrip: false, rstrip: false },
      ...{ normalized: false, special: true },
    })),
    normalizer: { type: 'Sequence', normalizers: [{ type: 'NFC' }, { type: 'Lowercase' }] },
    pre_tokenizer: { type: 'Whitespace' },
    post_processor: {
      type: 'TemplateProcessing',
      single: [mark('<|startoftext|>'), { Sequence: { id: 'A', type_id: 0 } }, mark('<|endoftext|>')],
      pair: [],
      special_tokens: Object.fromEntries(
        ['<|startoftext|>', '<|endoftext|>'].map((token) => [
          token,
          { id: token, ids: [id(token)], tokens: [token] },
        ]),
      ),
    },
    decoder: { type: 'BPEDecoder', suffix: '</w>' },
    model: {
      type: 'BPE',
      unk_token: '<|endoftext|>',
      end_of_word_suffix: '</w>',
      vocab: Object.fromEntries(vocabulary.map((token, i) => [token, i])),
      merges: [],
    },
  });
  write('tokenizer_config.json', {
    ...{ tokenizer_class: 'CLIPTokenizer', unk_token: '<|endoftext|>', pad_token: '<pad>' },
    model_max_length: 32,
  });
  write('preprocessor_config.json', {
    image_processor_type: 'CLIPImageProcessor',
    ...{ size: { shortest_edge: SIDE }, crop_size: { height: SIDE, width: SIDE }, resample: 3 },
  });
}

/** What is said of a surface. */
export const captionOf = (material: Material) => `a surface of ${material}`;

/**
 * Files of a data set of generated surfaces, each with its caption and its material as label: `rows.jsonl` and
 * `images/0.png` and so on.
 * @param counts rows of each material
 */
export async function surfaceFiles(
  counts: Partial<Record<Material, number>>,
  seed: number,
): Promise<Map<string, Buffer>> {
  const files = new Map<string, Buffer>();
  const rows: object[] = [];
  const most = Math.max(...Object.values(counts));
  // Materials take turns, so that a batch in file order has several.
  for (let i = 0; i < most; i++) {
    for (const material of MATERIALS) {
      if (i >= (counts[material] ?? 0)) continue;
      const { width, height, rgb } = makeSurface({
        seed: seed * 1000 + rows.length,
        width: 64,
        height: 64,
        material,
      });
      const png = await sharp(rgb, { raw: { width, height, channels: 3 } })
        .png()
        .toBuffer();
      const image = `images/${rows.length}.png`;
      files.set(image, png);
      rows.push({ image, caption: captionOf(material), label: material });
    }
  }
  files.set('rows.jsonl', Buffer.from(rows.map((row) => `${JSON.stringify(row)}\n`).join('')));
  return files;
}

/** The same as a folder. */
export async function writeSurfaces(
  folder: string,
  counts: Partial<Record<Material, number>>,
  seed: number,
): Promise<void> {
  for (const [name, content] of await surfaceFiles(counts, seed)) {
    const file = path.join(folder, name);
    mkdirSync(path.dirname(file), { recursive: true });
    writeFileSync(file, content);
  }
}
