import { create } from '@bufbuild/protobuf';
import { randomOf } from '@landfall/metrics/random.ts';
import { TestSetRowSchema } from '@landfall/proto/landfall/prompt/v1/evaluation_pb.js';
import { expect, test } from 'vitest';
import { splitRows } from './split.ts';

const seed = Number(process.env.LANDFALL_TEST_SEED ?? Math.floor(Math.random() * 2 ** 31));
console.info(`LANDFALL_TEST_SEED=${seed}`);

test('every row has one place, equal inputs have the same one, and the seed alone decides', () => {
  for (let trial = 0; trial < 100; trial++) {
    const random = randomOf(BigInt(seed), trial);
    const inputs = 1 + Math.floor(random() * 80);
    const rows = Array.from({ length: 1 + Math.floor(random() * 120) }, () => {
      const x = Math.floor(random() * inputs);
      const variables = random() < 0.5 ? { x, y: 'a' } : { y: 'a', x };
      return create(TestSetRowSchema, { variables, expected: [`${random()}`] });
    });
    const options = { seed: BigInt(trial), heldOutShare: 0.2 + 0.6 * random(), withExamples: random() < 0.5 };
    const split = splitRows(rows, options);
    expect(splitRows(rows, options)).toEqual(split);
    const parts = [split.heldOut, split.examples, split.development];
    expect(parts.flat().sort((a, b) => a - b)).toEqual(rows.map((_, i) => i));
    const inputsOf = (part: number[]) => new Set(part.map((row) => rows[row]!.variables!.x));
    const [heldOut, examples, development] = parts.map(inputsOf) as [
      Set<unknown>,
      Set<unknown>,
      Set<unknown>,
    ];
    expect(heldOut.isDisjointFrom(examples) && heldOut.isDisjointFrom(development)).toBe(true);
    expect(examples.isDisjointFrom(development)).toBe(true);
    if (!options.withExamples) expect(split.examples).toEqual([]);
  }
});

test('of different inputs the held-out part has its share, and another seed draws another one', () => {
  const rows = Array.from({ length: 100 }, (_, i) => create(TestSetRowSchema, { variables: { i } }));
  const draw = (one: bigint) => splitRows(rows, { seed: one, heldOutShare: 0.3, withExamples: true });
  const { heldOut, examples, development } = draw(1n);
  expect([heldOut.length, examples.length, development.length]).toEqual([30, 17, 53]);
  expect(draw(2n).heldOut).not.toEqual(heldOut);
});
