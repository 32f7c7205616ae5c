import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { initialClipWeights } from '@landfall/graph/checkpoint/initial-clip.ts';
import { writeModel } from '@landfall/graph/checkpoint/write-model.ts';

/** Pixels of a side. */
const SIDE = 224;
const BEGIN = 0;
const END = 1;

/** Writes a CLIP with random weights: ViT-S/16 at 224 pixels and a text tower of 4 layers, a tokenizer of letters. */
export function makeClip(folder: string, random: () => number): void {
  mkdirSync(folder, { recursive: true });
  const marks = ['<|startoftext|>', '<|endoftext|>'];
  const letters = [...'abcdefghijklmnopqrstuvwxyz'];
  const vocabulary = [...marks, ...letters, ...letters.map((letter) => `${letter}</w>`)];
  const tower = { hidden_act: 'quick_gelu', layer_norm_eps: 1e-5 };
  const config = {
    architectures: ['CLIPModel'],
    model_type: 'clip',
    projection_dim: 512,
    vision_config: {
      ...{ ...tower, model_type: 'clip_vision_model', image_size: SIDE, patch_size: 16, num_channels: 3 },
      ...{ hidden_size: 384, intermediate_size: 1536, num_hidden_layers: 12, num_attention_heads: 6 },
    },
    text_config: {
      ...{ ...tower, model_type: 'clip_text_model', vocab_size: vocabulary.length },
      ...{ max_position_embeddings: 77, bos_token_id: BEGIN, eos_token_id: END },
      ...{ hidden_size: 256, intermediate_size: 1024, num_hidden_layers: 4, num_attention_heads: 4 },
    },
  };
  writeModel(folder, config, initialClipWeights(config, random));
  const mark = (id: number) => ({ SpecialToken: { id: marks[id], type_id: 0 } });
  const write = (name: string, json: object) => writeFileSync(join(folder, name), JSON.stringify(json));
  write('tokenizer.json', {
    version: '1.0',
    added_tokens: marks.map((content, id) => ({
      ...{ id, content, single_word: false, lstrip: false, rstrip: false, normalized: false, special: true },
    })),
    normalizer: { type: 'Lowercase' },
    pre_tokenizer: { type: 'Whitespace' },
    post_processor: {
      type: 'TemplateProcessing',
      single: [mark(BEGIN), { Sequence: { id: 'A', type_id: 0 } }, mark(END)],
      pair: [],
      special_tokens: Object.fromEntries(marks.map((id, i) => [id, { id, ids: [i], tokens: [id] }])),
    },
    decoder: { type: 'BPEDecoder', suffix: '</w>' },
    model: {
      type: 'BPE',
      unk_token: marks[END],
      end_of_word_suffix: '</w>',
      vocab: Object.fromEntries(vocabulary.map((token, id) => [token, id])),
      merges: [],
    },
  });
  write('tokenizer_config.json', { tokenizer_class: 'CLIPTokenizer', model_max_length: 77 });
  write('preprocessor_config.json', {
    image_processor_type: 'CLIPImageProcessor',
    ...{ size: { shortest_edge: SIDE }, crop_size: { height: SIDE, width: SIDE }, resample: 3 },
    ...{ do_resize: true, do_center_crop: true, do_rescale: true, do_normalize: true, do_convert_rgb: true },
    ...{ image_mean: [0.48145466, 0.4578275, 0.40821073], image_std: [0.26862954, 0.26130258, 0.27577711] },
  });
}
