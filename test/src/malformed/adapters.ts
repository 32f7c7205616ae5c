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

const WEIGHTS = 'adapter_model.safetensors';
const CONFIG = 'adapter_config.json';

/** LoRA adapters with something wrong. */
export function malformedAdapters(good: Files, draw: Draw): Malformed[] {
  const whole = good.get(WEIGHTS)!;
  const { header, data } = parted(whole);
  const config = JSON.parse(good.get(CONFIG)!.toString()) as Header;
  const names = Object.keys(header).filter((name) => name !== '__metadata__');
  const adapter = (
    what: string,
    changes: Record<string, Buffer | string>,
    engine: RegExp,
    registry?: RegExp,
  ): Malformed => ({
    what: `an adapter with ${what}`,
    kind: 'adapter',
    files: changed(good, changes),
    engine,
    ...(registry ? { registry } : {}),
  });
  const weights = (what: string, file: Buffer, engine: RegExp, registry?: RegExp) =>
    adapter(what, { [WEIGHTS]: file }, engine, registry);
  const setting = (changes: Header, engine: RegExp, registry?: RegExp) =>
    adapter(
      JSON.stringify(changes),
      { [CONFIG]: JSON.stringify({ ...config, ...changes }) },
      engine,
      registry,
    );

  const missing = draw.of(names);
  const layer = missing.replace(/\.lora_[AB]\.weight$/, '');
  const factorA = draw.of(names.filter((name) => name.includes('lora_A')));
  const turned = { ...header, [factorA]: { ...header[factorA], shape: header[factorA].shape.toReversed() } };
  const poisoned = draw.of(names);
  const bytes = Buffer.from(data);
  const [from, to] = header[poisoned].data_offsets as [number, number];
  bytes.writeFloatLE(
    draw.of([Number.NaN, Number.POSITIVE_INFINITY]),
    from + 4 * draw.between(0, (to - from) / 4 - 1),
  );
  const renamed = Object.fromEntries(
    Object.entries(header).map(([name, entry]) => [name.replace('.layers.0.', '.layers.9.'), entry]),
  );
  const cut = draw.between(whole.length - data.length + 1, whole.length - 1);
  return [
    weights(
      `no ${missing}`,
      without(whole, missing),
      new RegExp(literal(missing)),
      new RegExp(literal(layer)),
    ),
    weights(
      `${factorA} the other way round`,
      joined(turned, data),
      new RegExp(`${literal(factorA)} has the shape`),
      /don't meet/,
    ),
    weights(
      `a number that is none in ${poisoned}`,
      joined(header, bytes),
      new RegExp(`${literal(poisoned)} holds a value`),
    ),
    weights('a layer that the base lacks', joined(renamed, data), /\.layers\.\d\..* is missing/),
    weights(
      `weights cut at byte ${cut}`,
      whole.subarray(0, cut),
      /adapter_model\.safetensors.*end at byte/,
      /end at byte/,
    ),
    weights('no tensors', joined({}, Buffer.alloc(0)), /is missing/, /holds no tensors/),
    adapter(
      'a configuration that is cut',
      { [CONFIG]: '{"r": 4,' },
      /adapter_config\.json is not JSON/,
      /adapter_config\.json/,
    ),
    setting({ r: 0 }, /adapter_config\.json: r must be/, /whole number r/),
    setting({ r: 1e9 }, /adapter_config\.json: r must be/, /whole number r/),
    setting({ r: 5 }, /has the shape/),
    setting({ lora_alpha: 'much' }, /lora_alpha must be a number/),
    setting({ lora_dropout: 1 }, /lora_dropout/),
    setting({ bias: 'some' }, /bias must be/),
    setting({ target_modules: '.*' }, /target_modules/),
    setting({ target_modules: ['no_such_proj'] }, /no_such_proj/),
    setting({ use_dora: true }, /use_dora is not supported/),
    setting({ peft_type: 'IA3' }, /peft_type IA3 is not supported/),
  ];
}
