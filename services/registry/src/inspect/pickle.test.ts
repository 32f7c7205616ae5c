import { describe, expect, it } from 'vitest';
import { looksLikePickle } from './pickle.ts';

const bytes = (text: string) => Buffer.from(text, 'latin1');

describe('looksLikePickle', () => {
  it.each([
    ['protocol 0 calling os.system', "cos\nsystem\n(S'true'\ntR."],
    ['protocol 0 without its end', "cos\nsystem\n(S'true'\ntR\xff"],
    ['protocol 0 by INST', "(S'true'\nios\nsystem\n."],
    ['protocol 2', '\x80\x02}q\x00.'],
    [
      'protocol 2 that breaks off behind a call',
      '\x80\x02cposix\nsystem\nX\x04\x00\x00\x00true\x85R\xff\xff',
    ],
    [
      'protocol 4 with STACK_GLOBAL',
      '\x80\x04\x95\x1d\x00\x00\x00\x00\x00\x00\x00\x8c\x05posix\x94\x8c\x06system\x94\x93\x94\x8c\x04true\x94\x85\x94R\x94.',
    ],
  ])('finds %s', (_what, text) => {
    expect(looksLikePickle(bytes(text), false)).toBe(true);
  });

  it('finds a pickle that is longer than what was read', () => {
    const long = `\x80\x04\x95\xff\xff\x00\x00\x00\x00\x00\x00X\xff\xff\xff\x00${'a'.repeat(1000)}`;
    expect(looksLikePickle(bytes(long), true)).toBe(true);
  });

  it.each([
    ['JSON', '{"model_type":"llama"}'],
    ['a word list', 'cat\ndog\nbird\nRed\n'],
    ['prose', 'Please read this.\nThis is a model card. It was made in 2026.\n'],
    ['merges', '#version: 0.2\nt h\nth e\n'],
    ['a safetensors header of 1,152 bytes', '\x80\x04\x00\x00\x00\x00\x00\x00{"__metadata__":{}}'],
    ['a start of ONNX', '\x08\x08\x12\x07pytorch:\x80\x01'],
    ['nothing', ''],
  ])('lets %s pass', (_what, text) => {
    expect(looksLikePickle(bytes(text), false)).toBe(false);
  });
});
