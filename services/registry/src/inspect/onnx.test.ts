import { expect, test } from 'vitest';
import { onnx } from '../../test/fixtures.ts';
import { checkOnnx } from './onnx.ts';
import type { InspectedFile } from './source.ts';

function file(bytes: Buffer): InspectedFile {
  return {
    path: 'onnx/model.onnx',
    sizeBytes: bytes.length,
    read: async (offset, length) => bytes.subarray(offset, offset + length),
    stream: async function* () {
      yield bytes;
    },
  };
}
const f32 = (count: number) => Buffer.alloc(count * 4);

test('takes a sound model and tells its external data', async () => {
  const model = onnx([
    { name: 'a', dims: [2, 3], raw: f32(6) },
    { name: 'scalar', dims: [], raw: f32(1) },
    { name: 'b', dims: [4], external: { location: 'model.onnx_data', offset: '16', length: '16' } },
    { name: 'big', dims: [100_000], raw: f32(100_000) },
  ]);
  expect(await checkOnnx(file(model))).toEqual([
    { tensor: '"b"', location: 'model.onnx_data', offset: 16, length: 16 },
  ]);
});

test.each([
  ['../model.data'],
  ['/etc/passwd'],
  ['..\\x'],
  ['a/../../x'],
  ['%2e%2e/x'],
  ['*/_ORT_MEM_ADDR_/*'],
  [''],
])('refuses external data at %j', async (location) => {
  const model = onnx([{ name: 'w', dims: [1], external: { location, offset: '0', length: '4' } }]);
  await expect(checkOnnx(file(model))).rejects.toThrow(/external data/);
});

test.each([
  ['a shape larger than its data', onnx([{ name: 'w', dims: [1000, 1000], raw: f32(1) }])],
  ['a shape beyond all memory', onnx([{ name: 'w', dims: [2 ** 40, 2 ** 40], raw: f32(1) }])],
  ['a shape without data', onnx([{ name: 'w', dims: [5] }])],
  [
    'external data of another size',
    onnx([{ name: 'w', dims: [5], external: { location: 'x', length: '4' } }]),
  ],
  [
    'an offset that is no number',
    onnx([{ name: 'w', dims: [1], external: { location: 'x', offset: '-4' } }]),
  ],
  ['no graph', Buffer.from([8, 8])],
  ['nothing', Buffer.alloc(0)],
  ['noise', Buffer.from('this is not a model')],
])('refuses %s', async (_what, bytes) => {
  await expect(checkOnnx(file(bytes))).rejects.toThrow(/not a sound ONNX file/);
});

test('refuses a model that is cut off anywhere', async () => {
  const model = onnx([{ name: 'w', dims: [4, 4], raw: f32(16) }]);
  for (let length = 3; length < model.length; length++) {
    await expect(checkOnnx(file(model.subarray(0, length))), `${length} bytes`).rejects.toThrow(
      /not a sound ONNX/,
    );
  }
});

test('refuses graphs nested without end', async () => {
  let graph = Buffer.alloc(0);
  const wrap = (field: number, content: Buffer) => {
    const length: number[] = [];
    let rest = content.length;
    for (; rest >= 0x80; rest >>= 7) length.push((rest & 0x7f) | 0x80);
    return Buffer.concat([Buffer.from([field * 8 + 2, ...length, rest]), content]);
  };
  // A graph in an attribute of a node of a graph, fifty times.
  for (let depth = 0; depth < 50; depth++) graph = wrap(1, wrap(5, wrap(6, graph)));
  await expect(checkOnnx(file(wrap(7, graph)))).rejects.toThrow(/nested deeper/);
});
