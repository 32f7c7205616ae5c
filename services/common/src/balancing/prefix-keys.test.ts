import fc from 'fast-check';
import { expect, test } from 'vitest';
import { fnv1a64, shareOf, start64 } from './fnv.ts';
import { longestMatch, PREFIX_BYTES, PrefixSketch, prefixKeys } from './prefix-keys.ts';

const model = 'models:/qa/1.0.0';
const tenant = 'acme';
const text = fc.oneof(
  fc.string({ unit: 'grapheme', maxLength: 6000 }),
  fc.string({ unit: 'binary', maxLength: 300 }),
  fc.nat(20_000).map((length) => '高血压 a'.repeat(length / 4)),
);

test('FNV-1a in halves is FNV-1a in one piece', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), fc.nat(200), (bytes, at) => {
      let expected = 0xcbf29ce484222325n;
      for (const byte of bytes) expected = ((expected ^ BigInt(byte)) * 0x100000001b3n) & 0xffffffffffffffffn;
      const cut = Math.min(at, bytes.length);
      const hash = start64();
      fnv1a64(hash, bytes, 0, cut);
      fnv1a64(hash, bytes, cut, bytes.length);
      expect((BigInt(hash.high) << 32n) | BigInt(hash.low)).toBe(expected);
    }),
  );
});

test('prompts with the same beginning share its keys, whatever follows', () => {
  fc.assert(
    fc.property(text, text, text, (shared, one, other) => {
      const bytes = Buffer.byteLength(`user${shared}`) + 1;
      const keys = [one, other].map((rest) =>
        prefixKeys({ model, tenant, messages: [{ role: 'user', content: `${shared}${rest}` }] }),
      );
      // Where the shared part ends in half of a surrogate pair, it ends a unit earlier.
      const common = PREFIX_BYTES.filter((length) => length <= bytes - 3).length;
      expect(keys[0]!.slice(0, common)).toEqual(keys[1]!.slice(0, common));
      expect(keys[0]!.length).toBeGreaterThanOrEqual(common);
    }),
  );
});

test('a chat that goes on keeps the keys that it had', () => {
  fc.assert(
    fc.property(fc.array(text, { minLength: 1, maxLength: 6 }), text, (contents, next) => {
      const messages = contents.map((content, i) => ({ role: i % 2 ? 'assistant' : 'user', content }));
      const before = prefixKeys({ model, tenant, messages });
      const after = prefixKeys({
        model,
        tenant,
        messages: [...messages, { role: 'user', content: next }],
      });
      expect(after.slice(0, before.length)).toEqual(before);
    }),
  );
});

test('another model, tenant, kind of prompt, or border between messages has other keys', () => {
  const content = 'x'.repeat(2000);
  const chat = { model, tenant, messages: [{ role: 'user', content }] };
  const variants = [
    chat,
    { ...chat, model: 'models:/qa/2.0.0' },
    { ...chat, tenant: 'other' },
    { model, tenant, prompt: `user${content}` },
    {
      model,
      tenant,
      messages: [
        { role: 'user', content: content.slice(0, 100) },
        { role: 'user', content },
      ],
    },
    { model, tenant, messages: [{ role: 'userx', content: content.slice(1) }] },
  ];
  const keys = variants.flatMap((each) => prefixKeys(each));
  expect(keys.length).toBe(2 * variants.length);
  expect(new Set(keys).size).toBe(keys.length);
  for (const key of keys) expect(BigInt.asUintN(64, key)).toBe(key);
});

test('short prompts have none, and the longest have one for each length', () => {
  expect(prefixKeys({ model, tenant, prompt: 'short' })).toEqual([]);
  expect(prefixKeys({ model, tenant, prompt: 'x'.repeat(1_000_000) }).length).toBe(PREFIX_BYTES.length);
});

test('a sketch keeps what was used last, the newest first', () => {
  const sketch = new PrefixSketch(4);
  sketch.add([1n, 2n]);
  sketch.add([3n, 4n]);
  sketch.add([1n]);
  expect(sketch.keys).toEqual([1n, 4n, 3n, 2n]);
  const { version } = sketch;
  sketch.add([4n, 3n]);
  sketch.add([1n]);
  expect(sketch.version).toBe(version);
  sketch.add([5n, 6n]);
  expect(sketch.version).not.toBe(version);
  expect(sketch.keys).toEqual([6n, 5n, 1n, 3n]);
  sketch.add(Array.from({ length: 100 }, (_, i) => BigInt(i)));
  expect(sketch.keys).toEqual([99n, 98n, 97n, 96n]);
  expect(longestMatch([7n, 98n, 97n], sketch.keys)).toBe(2);
  expect(longestMatch([7n], sketch.keys)).toBe(-1);
});

test('shares of texts are even', () => {
  const buckets = new Array<number>(10).fill(0);
  for (let i = 0; i < 10_000; i++) {
    const share = shareOf(`acme\nkey:${i}`);
    buckets[Math.floor(share * 10)]!++;
  }
  // 1000 each; six standard deviations are 180.
  for (const count of buckets) expect(Math.abs(count - 1000)).toBeLessThan(180);
});
