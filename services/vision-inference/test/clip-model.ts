import { cpSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

const REFERENCE = join(import.meta.dirname, '../../graph/test/fixtures/reference/clip');

/** Ids of the model's marks, by its config.json. */
export const BEGIN = 4;
export const END = 5;
/** Tokens that the model reads at most. */
export const LONGEST = 10;

/** A CLIP folder: the smallest reference case's weights, a tokenizer of letters in CLIP's layout, its processor. */
export function writeClipModel(folder: string): void {
  for (const file of ['config.json', 'model.safetensors'])
    cpSync(join(REFERENCE, file), join(folder, file), { recursive: true });
  const marks = ['<pad>', 'unused1', 'unused2', 'unused3', '<|startoftext|>', '<|endoftext|>'];
  const letters = [...'abcdefghijklmnopqrstuvwxyz0'];
  // What a mark is spelt with has tokens of its own: a text that spells one is not unknown words.
  const signs = ['<', '|</w>', '|', '></w>'];
  const vocabulary = [...marks, ...letters, ...letters.map((letter) => `${letter}</w>`), ...signs];
  const vocab = Object.fromEntries(vocabulary.map((token, id) => [token, id]));
  const special = (id: number) => ({
    ...{ id, content: marks[id], single_word: false, lstrip: false, rstrip: false },
    ...{ normalized: false, special: true },
  });
  const mark = (token: string) => ({ SpecialToken: { id: token, type_id: 0 } });
  const tokenizer = {
    version: '1.0',
    added_tokens: [0, BEGIN, END].map(special),
    normalizer: { type: 'Sequence', normalizers: [{ type: 'NFC' }, { type: 'Lowercase' }] },
    pre_tokenizer: { type: 'Whitespace' },
    post_processor: {
      type: 'TemplateProcessing',
      single: [mark(marks[BEGIN]!), { Sequence: { id: 'A', type_id: 0 } }, mark(marks[END]!)],
      pair: [],
      special_tokens: Object.fromEntries(
        [BEGIN, END].map((id) => [marks[id], { id: marks[id], ids: [id], tokens: [marks[id]] }]),
      ),
    },
    decoder: { type: 'BPEDecoder', suffix: '</w>' },
    model: {
      type: 'BPE',
      unk_token: '<|endoftext|>',
      end_of_word_suffix: '</w>',
      ...{ vocab, merges: [] },
    },
  };
  const processor = {
    image_processor_type: 'CLIPImageProcessor',
    ...{ size: { shortest_edge: 27 }, crop_size: { height: 27, width: 27 }, resample: 3 },
  };
  writeFileSync(join(folder, 'tokenizer.json'), JSON.stringify(tokenizer));
  const settings = { tokenizer_class: 'CLIPTokenizer', unk_token: '<|endoftext|>', pad_token: '<pad>' };
  writeFileSync(
    join(folder, 'tokenizer_config.json'),
    JSON.stringify({ ...settings, model_max_length: LONGEST }),
  );
  writeFileSync(join(folder, 'preprocessor_config.json'), JSON.stringify(processor));
}
