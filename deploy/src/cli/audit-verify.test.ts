/** `audit verify` as a process of its own: its exit code is what scripts go by. */

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { createLogger } from '@landfall/common/log/logger.ts';
import { AuditLog } from '@landfall/gateway/audit/audit-log.ts';
import { type AuditRecord, sha256 } from '@landfall/gateway/audit/chain.ts';
import { CheckpointSigner } from '@landfall/gateway/audit/checkpoint.ts';
import { segmentsOf } from '@landfall/gateway/audit/segments.ts';
import { afterAll, beforeAll, expect, test } from 'vitest';

const seed = Number(process.env.LANDFALL_TEST_SEED || Math.floor(Math.random() * 2 ** 31));
console.log(`audit verify: LANDFALL_TEST_SEED=${seed}`);

const CALLS = 20;
/** The log's own first and last line tell that it was opened and closed. */
const LINES = CALLS + 2;
/** The call that is tampered with, and the entry of the log that it is. */
const CALL = seed % CALLS;
const ENTRY = CALL + 2;

let folder: string;
let shard: string;
let bytes: Buffer;
let path: string;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'landfall-verify-'));
  shard = join(folder, 'gateway', 'audit', 'one');
  const log = await AuditLog.open({
    ...{ folder: shard, shard: 'one', logger: createLogger('test', 'silent'), segmentBytes: 1_000_000 },
    ...{ signer: signer(), checkpointFile: join(folder, 'elsewhere.jsonl'), durability: 'system' },
  });
  for (let i = 0; i < CALLS; i++) await log.append(record(i));
  await log.close();
  path = segmentsOf(shard)[0]!.path;
  bytes = readFileSync(path);
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const signer = (name = 'signing.pem') => CheckpointSigner.open(join(folder, name));

const record = (i: number): AuditRecord => ({
  ...{ id: crypto.randomUUID(), timeMs: Date.now(), kind: 'call', tenant: 'default', subject: `key:${i}` },
  ...{ route: 'POST /v1/chat/completions', method: 'landfall.text.v1.TextInferenceService/Generate' },
  ...{
    resource: `models/qa-${i}`,
    outcome: 'OK',
    policy: '',
    request: sha256(`${i}`),
    response: sha256('.'),
  },
});

async function verify(...words: string[]): Promise<{ code: number; out: string; error: string }> {
  const child = spawn(process.execPath, [join(import.meta.dirname, 'main.ts'), 'audit', 'verify', ...words], {
    env: { ...process.env, LANDFALL_HOME: folder, LANDFALL_API_KEY: '', LANDFALL_URL: '' },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const [out, error, [code]] = await Promise.all([
    text(child.stdout),
    text(child.stderr),
    once(child, 'exit'),
  ]);
  return { code: code as number, out: out.trim(), error };
}

/** The auditors' own: checkpoints as they were kept elsewhere, and a public key. */
function auditors(name?: string): string[] {
  const key = join(folder, `auditors-${name ?? 'own'}.pem`);
  writeFileSync(key, signer(name).publicPem);
  return ['--checkpoints', join(folder, 'elsewhere.jsonl'), '--key', key];
}

/** With the log's bytes changed for as long as `look` takes. */
async function whileIts<T>(changed: Buffer, look: () => Promise<T>): Promise<T> {
  writeFileSync(path, changed);
  try {
    return await look();
  } finally {
    writeFileSync(path, bytes);
  }
}

test('a log that holds: exit code 0, and how much was looked at', async () => {
  const told = await verify(...auditors(), '--json');
  expect([told.code, told.error.includes('holds')]).toEqual([0, false]);
  expect(JSON.parse(told.out.split('\n').at(-1)!)).toMatchObject({
    verdict: 'holds',
    shards: [{ shard: 'one', segments: 1, lines: LINES, first: 1, last: LINES, unsealed: 0 }],
  });
  const plain = await verify(...auditors());
  expect(plain).toMatchObject({
    code: 0,
    out: expect.stringMatching(new RegExp(`one +1 +${LINES} +1 +${LINES} `)),
  });
  expect(plain.out.split('\n').at(-1)).toBe('holds');
}, 60_000);

test('a log that somebody has changed: exit code 1, and the first entry that is wrong', async () => {
  const at = bytes.indexOf(`key:${CALL}"`);
  const changed = Buffer.from(bytes);
  changed[at] = changed[at]! ^ 1;
  await whileIts(changed, async () => {
    const told = await verify(...auditors(), '--json');
    expect(told.code).toBe(1);
    const verdict = JSON.parse(told.out.split('\n').at(-1)!);
    expect(verdict).toMatchObject({ verdict: 'broken', firstBad: { shard: 'one', line: ENTRY, seq: ENTRY } });
    const plain = await verify(...auditors());
    expect(plain).toMatchObject({ code: 1, out: expect.stringContaining(`line ${ENTRY}, entry ${ENTRY}`) });
  });
  // Its end is missing: what was vouched for elsewhere is not there.
  await whileIts(bytes.subarray(0, bytes.lastIndexOf(10, bytes.length - 2) + 1), async () => {
    const told = await verify(...auditors());
    expect(told).toMatchObject({ code: 1, out: expect.stringContaining(`entry ${LINES}`) });
  });
  // Checkpoints of another hand vouch for nothing.
  expect((await verify(...auditors('forged.pem'))).code).toBe(1);
}, 120_000);

test('what can not be read, or is called wrongly: exit code 2, and what to do', async () => {
  const [, checkpoints, , key] = auditors() as [string, string, string, string];
  mkdirSync(join(folder, 'empty'));
  writeFileSync(join(folder, 'no-key.pem'), '-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n');
  for (const [words, said] of [
    [['--checkpoints', join(folder, 'none.jsonl'), '--key', key], 'there are no checkpoints at'],
    [['--checkpoints', folder, '--key', key], 'can not be read'],
    [['--checkpoints', checkpoints, '--key', join(folder, 'none.pem')], 'give --key FILE'],
    [['--checkpoints', checkpoints, '--key', folder], 'can not be read'],
    [['--checkpoints', checkpoints, '--key', join(folder, 'no-key.pem')], 'no public key'],
    [['--log', join(folder, 'none')], 'there is no log at'],
    [['--log', path, '--key', key], 'can not be read'],
    [['--log', join(folder, 'empty'), '--key', key], 'holds no shard'],
    [['--from', 'yesterday'], '--from is a time'],
    [['--kee', key], 'did you mean --key?'],
  ] as const) {
    const told = await verify(...words);
    expect([words, told.code, told.out + told.error]).toEqual([words, 2, expect.stringContaining(said)]);
  }
}, 120_000);
