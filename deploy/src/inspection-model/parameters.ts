import type { NamedTensor } from '@landfall/graph/checkpoint/safetensors.ts';
import { Random } from '../base-model/random.ts';

/**
 * Weights to train from: norms one, biases zero, matrices normal with a deviation that keeps what goes through them as
 * large as it came (Glorot and Bengio 2010), tables of embeddings with 0.02.
 */
export function initialParameters(
  shapes: ReadonlyMap<string, readonly number[]>,
  seed: number,
): Map<string, NamedTensor> {
  const random = new Random(seed);
  const normal = () => Math.sqrt(-2 * Math.log(1 - random.next())) * Math.cos(2 * Math.PI * random.next());
  return new Map(
    [...shapes].map(([name, shape]) => {
      const data = new Float32Array(shape.reduce((product, n) => product * n, 1));
      if (/norm\w*\.weight$/.test(name)) data.fill(1);
      else if (!name.endsWith('bias')) {
        const [outputs = 1, inputs = 1] = [shape[0], data.length / (shape[0] ?? 1)];
        const isTable = shape.length < 2 || name.includes('position_embedding');
        const deviation = isTable ? 0.02 : Math.sqrt(2 / (inputs + outputs));
        for (let i = 0; i < data.length; i++) data[i] = deviation * normal();
      }
      return [name, { shape: [...shape], data }];
    }),
  );
}

/**
 * Begins the tower where a picture's own statistics are: its first layer as the lowest frequencies of each patch (the
 * cosine transform of Ahmed et al. 1974, of the light and of two differences of colour) divided by their spread over
 * some samples, its positions as waves of both axes (Vaswani et al. 2017). Learning that from nothing takes long.
 */
export function seedTower(
  parameters: ReadonlyMap<string, NamedTensor>,
  patches: readonly Float32Array[],
): void {
  const kernel = parameters.get('embeddings.patch_embedding.weight')!;
  const [rows = 0, channels = 0, side = 0] = kernel.shape;
  const area = side * side;
  const frequencies = Array.from({ length: area }, (_, i) => [Math.floor(i / side), i % side] as const).sort(
    ([a, b], [c, d]) => a * a + b * b - c * c - d * d,
  );
  const mixes = [
    [1, 1, 1],
    [1, -1, 0],
    [-0.5, -0.5, 1],
  ];
  const ofColor = 9;
  const basis = [
    ...frequencies.slice(0, rows - 2 * ofColor).map((at) => [at, mixes[0]!] as const),
    ...[1, 2].flatMap((mix) => frequencies.slice(0, ofColor).map((at) => [at, mixes[mix]!] as const)),
  ];
  for (const [row, [[u, v], mix]] of basis.entries()) {
    const from = row * channels * area;
    const wave = (at: number, frequency: number) => Math.cos((Math.PI * (at + 0.5) * frequency) / side);
    for (let c = 0; c < channels; c++)
      for (let y = 0; y < side; y++)
        for (let x = 0; x < side; x++)
          kernel.data[from + c * area + y * side + x] = mix[c]! * wave(y, u) * wave(x, v);
    const filter = kernel.data.subarray(from, from + channels * area);
    let squares = 0;
    for (const patch of patches)
      squares += filter.reduce((sum, weight, i) => sum + weight * patch[i]!, 0) ** 2;
    const spread = Math.sqrt(squares / patches.length) + 1e-3;
    for (let i = 0; i < filter.length; i++) filter[i]! /= spread;
  }
  const places = parameters.get('embeddings.position_embedding.weight')!;
  const [count = 0, size = 0] = places.shape;
  const grid = Math.sqrt(count - 1);
  for (let at = 1; at < count; at++) {
    const [y, x] = [Math.floor((at - 1) / grid) / grid, ((at - 1) % grid) / grid];
    for (let i = 0; i < size; i++) {
      const frequency = Math.PI * 2 ** (Math.floor(i / 4) / (size / 16) - 1);
      const angle = frequency * (i & 1 ? x : y);
      places.data[at * size + i] = 0.3 * (i & 2 ? Math.sin(angle) : Math.cos(angle));
    }
  }
}
