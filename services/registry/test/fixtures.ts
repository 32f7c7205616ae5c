import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';

/** Content by path. */
export type Files = Map<string, Buffer>;

const json = (value: unknown) => Buffer.from(JSON.stringify(value));

/** A safetensors file of float32 zeros, except that the first bytes carry `mark`, so that versions differ. */
export function safetensors(shapes: Record<string, number[]>, mark = 0): Buffer {
  let offset = 0;
  const header: Record<string, unknown> = { __metadata__: { format: 'pt' } };
  for (const [name, shape] of Object.entries(shapes)) {
    const bytes = shape.reduce((product, size) => product * size, 4);
    header[name] = { dtype: 'F32', shape, data_offsets: [offset, offset + bytes] };
    offset += bytes;
  }
  return rawSafetensors(header, offset, mark);
}

/** A safetensors file with any header, however wrong. */
export function rawSafetensors(header: unknown, dataBytes: number, mark = 0): Buffer {
  const text = json(header);
  const file = Buffer.alloc(8 + text.length + dataBytes);
  file.writeBigUInt64LE(BigInt(text.length));
  text.copy(file, 8);
  if (dataBytes >= 4) file.writeUInt32LE(mark, 8 + text.length);
  return file;
}

export const CONFIG = {
  model_type: 'llama',
  hidden_size: 8,
  intermediate_size: 16,
  num_hidden_layers: 1,
  num_attention_heads: 2,
  num_key_value_heads: 1,
  vocab_size: 32,
};

const WEIGHTS = {
  'model.embed_tokens.weight': [32, 8],
  'model.layers.0.self_attn.q_proj.weight': [8, 8],
  'model.layers.0.self_attn.k_proj.weight': [4, 8],
  'model.layers.0.self_attn.v_proj.weight': [4, 8],
  'model.layers.0.self_attn.o_proj.weight': [8, 8],
  'model.layers.0.mlp.gate_proj.weight': [16, 8],
  'model.layers.0.mlp.up_proj.weight': [16, 8],
  'model.layers.0.mlp.down_proj.weight': [8, 16],
  'model.norm.weight': [8],
};

/** A LLaMA of one layer in Hugging Face's layout. */
export function baseFiles(mark = 0): Files {
  return new Map([
    ['config.json', json(CONFIG)],
    ['tokenizer.json', json({ version: '1.0', model: { type: 'BPE', vocab: { a: 0 }, merges: [] } })],
    ['model.safetensors', safetensors(WEIGHTS, mark)],
  ]);
}

/** A LoRA adapter of it in peft's layout. */
export function adapterFiles(mark = 0, rank = 2): Files {
  const prefix = 'base_model.model.model.layers.0.self_attn.q_proj';
  return new Map([
    ['adapter_config.json', json({ peft_type: 'LORA', r: rank, lora_alpha: 4, target_modules: ['q_proj'] })],
    [
      'adapter_model.safetensors',
      safetensors({ [`${prefix}.lora_A.weight`]: [rank, 8], [`${prefix}.lora_B.weight`]: [8, rank] }, mark),
    ],
  ]);
}

/** Rows of question and answer. */
export function datasetFiles(): Files {
  return new Map([['train.json', json([{ question: '高血压能吃咸菜吗?', answer: '尽量少吃。' }])]]);
}

export function writeFolder(folder: string, files: Files): void {
  for (const [path, content] of files) {
    mkdirSync(join(folder, dirname(path)), { recursive: true });
    writeFileSync(join(folder, path), content);
  }
}

/** A TensorProto field by field; see onnx.proto. */
type Tensor = { name: string; dims: number[]; raw?: Buffer; external?: Record<string, string> };

/** An ONNX model whose graph holds these float32 initializers. */
export function onnx(tensors: readonly Tensor[]): Buffer {
  const initializers = tensors.map(({ name, dims, raw, external }) =>
    message(5, [
      ...dims.map((dim) => number(1, dim)),
      number(2, 1),
      bytes(8, Buffer.from(name)),
      ...(raw ? [bytes(9, raw)] : []),
      ...Object.entries(external ?? {}).map(([key, value]) =>
        message(13, [bytes(1, Buffer.from(key)), bytes(2, Buffer.from(value))]),
      ),
      ...(external ? [number(14, 1)] : []),
    ]),
  );
  return Buffer.concat([number(1, 8), message(7, [bytes(2, Buffer.from('graph')), ...initializers])]);
}

function varint(value: number): Buffer {
  const parts: number[] = [];
  for (; value >= 0x80; value = Math.floor(value / 128)) parts.push((value % 128) | 0x80);
  return Buffer.from([...parts, value]);
}
const number = (field: number, value: number) => Buffer.concat([varint(field * 8), varint(value)]);
const bytes = (field: number, value: Buffer) =>
  Buffer.concat([varint(field * 8 + 2), varint(value.length), value]);
const message = (field: number, parts: Buffer[]) => bytes(field, Buffer.concat(parts));
