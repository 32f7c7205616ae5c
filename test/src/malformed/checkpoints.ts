import {
  changed,
  type Draw,
  type Files,
  type Header,
  joined,
  literal,
  type Malformed,
  parted,
  without,
} from './files.ts';

const WEIGHTS = 'model.safetensors';
const CONFIG = 'config.json';
const TOKENIZER = 'tokenizer.json';
const INDEX = 'model.safetensors.index.json';

/** Base models with something wrong, in their weights, their configuration, their tokenizer or their index. */
export function malformedBases(good: Files, draw: Draw): Malformed[] {
  return [
    ...lyingFiles(good, draw),
    ...wrongTensors(good, draw),
    ...wrongConfigs(good, draw),
    ...wrongText(good),
  ];
}

const base = (what: string, files: Files, engine: RegExp, registry?: RegExp): Malformed => ({
  what,
  kind: 'base',
  files,
  engine,
  ...(registry ? { registry } : {}),
});

/** Files whose header does not tell the truth about them. */
function lyingFiles(good: Files, draw: Draw): Malformed[] {
  const whole = good.get(WEIGHTS)!;
  const { header, data } = parted(whole);
  const headerBytes = whole.length - data.length;
  const tensors = Object.keys(header).filter((name) => name !== '__metadata__');
  const weights = (what: string, file: Buffer, words: RegExp) =>
    base(what, changed(good, { [WEIGHTS]: file }), new RegExp(`model\\.safetensors.*${words.source}`), words);
  /** The same header with one tensor described otherwise. */
  const lying = (name: string, change: (entry: Header) => Header) =>
    joined({ ...header, [name]: change(header[name]) }, data);
  const list: Malformed[] = [];
  for (let i = 0; i < 4; i++) {
    const cut = draw.between(headerBytes + 1, whole.length - 1);
    list.push(
      weights(
        `weights cut at byte ${cut}`,
        whole.subarray(0, cut),
        /the tensors end at byte \d+ and the file at/,
      ),
    );
  }
  for (let i = 0; i < 3; i++) {
    const cut = draw.between(16, headerBytes - 1);
    list.push(
      weights(`weights cut in the header at byte ${cut}`, whole.subarray(0, cut), /claims.*(header|bytes)/),
    );
  }
  const few = draw.between(0, 7);
  list.push(weights(`weights of ${few} bytes`, Buffer.alloc(few), /the file has no header/));
  for (const power of [60n, 63n, BigInt(draw.between(33, 59))]) {
    const file = Buffer.from(whole);
    file.writeBigUInt64LE(2n ** power);
    list.push(weights(`a header of 2^${power} bytes`, file, /claims/));
  }
  const behind = draw.between(1, 4096);
  list.push(
    weights(
      `${behind} bytes behind the last tensor`,
      Buffer.concat([whole, Buffer.alloc(behind)]),
      /the tensors end at byte/,
    ),
  );
  for (let i = 0; i < 3; i++) {
    const name = draw.of(tensors.slice(1));
    const by = draw.between(1, header[name].data_offsets[0]);
    const file = lying(name, (e) => ({ ...e, data_offsets: e.data_offsets.map((at: number) => at - by) }));
    list.push(
      weights(
        `offsets of ${name} ${by} too low`,
        file,
        /tensor "model\.[a-z0-9_.]+" overlaps another or leaves a hole/,
      ),
    );
  }
  const shapes: [string, unknown][] = [
    ['larger than its bytes', [2 ** 20, 2 ** 20]],
    ['whose product overflows', [2 ** 52, 2 ** 52, 2 ** 52]],
    ['below nothing', [-1, 4]],
    ['of fractions', [1.5, 2]],
    ['of text', 'all'],
  ];
  for (const [what, shape] of shapes) {
    const name = draw.of(tensors);
    const says = new RegExp(`tensor "${literal(name)}".*(shape|fit)`);
    list.push(
      weights(
        `a shape of ${name} ${what}`,
        lying(name, (e) => ({ ...e, shape })),
        says,
      ),
    );
  }
  const pairs: unknown[] = [[0], [8, 4], [-4, 0], ['0', '4'], null];
  for (const offsets of [draw.of(pairs), [0, 2 ** 53]]) {
    const name = draw.of(tensors);
    const says = new RegExp(`tensor "${literal(name)}" has no valid offsets`);
    const file = lying(name, (e) => ({ ...e, data_offsets: offsets }));
    list.push(weights(`offsets ${JSON.stringify(offsets)} of ${name}`, file, says));
  }
  for (const dtype of ['F31', 'float32', null]) {
    const name = draw.of(tensors);
    const says = new RegExp(`tensor "${literal(name)}" has (the unknown|no) type`);
    list.push(
      weights(
        `type ${dtype} of ${name}`,
        lying(name, (e) => ({ ...e, dtype })),
        says,
      ),
    );
  }
  const twice = draw.of(tensors);
  const doubled = JSON.stringify(header).replace(
    /}$/,
    `,${JSON.stringify(twice)}:${JSON.stringify(header[twice])}}`,
  );
  list.push(weights(`${twice} named twice`, joined(Buffer.from(doubled), data), /is named twice/));
  list.push(
    weights('a header that is no JSON', joined(Buffer.from('{"a":'), data), /the header is not JSON/),
  );
  list.push(
    weights('a header that is a list', joined(Buffer.from('[1]'), data), /the header is not an object/),
  );
  list.push(
    weights(
      'a header in Latin-1',
      joined(Buffer.from([0x7b, 0x22, 0xe9, 0x22]), data),
      /the header is not UTF-8/,
    ),
  );
  return list;
}

/** Files that are whole, and hold what the configuration does not mean. */
function wrongTensors(good: Files, draw: Draw): Malformed[] {
  const whole = good.get(WEIGHTS)!;
  const { header, data } = parted(whole);
  const matrices = Object.keys(header).filter((name) => /proj/.test(name));
  const list: Malformed[] = [];
  for (let i = 0; i < 3; i++) {
    const name = draw.of(matrices);
    const says = new RegExp(literal(name));
    list.push(base(`no ${name}`, changed(good, { [WEIGHTS]: without(whole, name) }), says, says));
  }
  for (let i = 0; i < 2; i++) {
    const name = draw.of(matrices.filter((m) => header[m].shape[0] !== header[m].shape[1]));
    const file = joined(
      { ...header, [name]: { ...header[name], shape: header[name].shape.toReversed() } },
      data,
    );
    const says = new RegExp(`${literal(name)}.* has the shape \\[`);
    list.push(base(`${name} the other way round`, changed(good, { [WEIGHTS]: file }), says, says));
  }
  for (const dtype of ['I32', 'U32']) {
    const name = draw.of(matrices);
    const file = joined({ ...header, [name]: { ...header[name], dtype } }, data);
    const says = new RegExp(`${literal(name)}.* is ${dtype}`);
    list.push(base(`${name} as ${dtype}`, changed(good, { [WEIGHTS]: file }), says));
  }
  for (const value of [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]) {
    const name = draw.of(matrices);
    const [from, to] = header[name].data_offsets as [number, number];
    const bytes = Buffer.from(data);
    bytes.writeFloatLE(value, from + 4 * draw.between(0, (to - from) / 4 - 1));
    const says = new RegExp(`${literal(name)} holds a value that is not a finite number`);
    list.push(base(`${value} in ${name}`, changed(good, { [WEIGHTS]: joined(header, bytes) }), says));
  }
  return list;
}

/** Configurations that can't be, or that the weights do not fit. */
function wrongConfigs(good: Files, draw: Draw): Malformed[] {
  const config = JSON.parse(good.get(CONFIG)!.toString()) as Header;
  const wrong = (changes: Header, engine: RegExp, registry?: RegExp) =>
    base(
      `config.json with ${JSON.stringify(changes)}`,
      changed(good, { [CONFIG]: JSON.stringify({ ...config, ...changes }) }),
      engine,
      registry,
    );
  const numbers = [
    'hidden_size',
    'vocab_size',
    'num_hidden_layers',
    'num_attention_heads',
    'intermediate_size',
  ];
  const list = [0, -draw.between(1, 1e6), 1.5, '32', 2 ** 40, 1e300].map((value) => {
    const name = draw.of(numbers);
    const says = new RegExp(`config\\.json.*${name}`);
    return wrong({ [name]: value }, says, says);
  });
  list.push(wrong({ hidden_size: null }, /config\.json: hidden_size/, /config\.json.*hidden_size/));
  list.push(wrong({ num_key_value_heads: 3 }, /num_key_value_heads/, /config\.json.*3 key heads/));
  list.push(wrong({ model_type: 'mamba' }, /model_type mamba is not supported/, /model_type 'mamba'/));
  list.push(wrong({ hidden_act: 'gelu' }, /hidden_act gelu is not supported/));
  list.push(wrong({ rope_parameters: { rope_type: 'spiral' } }, /rope type spiral is not supported/));
  list.push(
    wrong({ rope_parameters: { rope_type: 'linear', factor: 'two' } }, /config\.json: factor must be/),
  );
  list.push(wrong({ rms_norm_eps: -1 }, /config\.json: rms_norm_eps/));
  const rows = config.vocab_size + draw.between(1, 1000);
  list.push(wrong({ vocab_size: rows }, /model\.embed_tokens\.weight/, /model\.embed_tokens\.weight/));
  return list;
}

/** JSON files that are broken or missing. */
function wrongText(good: Files): Malformed[] {
  const text = (
    name: string,
    what: string,
    content: Buffer | string | undefined,
    engine: RegExp,
    registry: RegExp,
  ) => base(`${name} ${what}`, changed(good, { [name]: content }), engine, registry);
  const index = (what: string, content: unknown, engine: RegExp, registry: RegExp) =>
    base(
      `an index ${what}`,
      changed(good, { [WEIGHTS]: undefined, [INDEX]: JSON.stringify(content) }),
      engine,
      registry,
    );
  const names = /config\.json/;
  return [
    text(CONFIG, 'cut', good.get(CONFIG)!.subarray(0, 40), names, names),
    text(CONFIG, 'that is a list', '[]', names, names),
    text(CONFIG, 'missing', undefined, names, names),
    text(TOKENIZER, 'cut', good.get(TOKENIZER)!.subarray(0, 200), /tokenizer/, /tokenizer\.json/),
    text(TOKENIZER, 'without a model', '{"version":"1.0"}', /tokenizer/, /tokenizer\.json/),
    text(TOKENIZER, 'missing', undefined, /tokenizer\.json/, /tokenizer\.json/),
    index(
      'of a shard that is missing',
      { weight_map: { a: 'b.safetensors' } },
      /b\.safetensors/,
      /b\.safetensors/,
    ),
    index('that climbs out', { weight_map: { a: '../../b.safetensors' } }, /impossible file/, /index\.json/),
    index('without a map', {}, /weight_map/, /weight_map/),
  ];
}
