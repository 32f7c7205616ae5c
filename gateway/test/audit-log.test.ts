import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import { status } from '@grpc/grpc-js';
import { createLogger } from '@landfall/common/log/logger.ts';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { AuditLog, type AuditLogOptions } from '../src/audit/audit-log.ts';
import { type ChainLine, type Head, nextLine, origin, readLine } from '../src/audit/chain.ts';
import { CheckpointSigner } from '../src/audit/checkpoint.ts';
import { dropSegments } from '../src/audit/retention.ts';
import { CHECKPOINTS, segmentName, segmentsOf } from '../src/audit/segments.ts';
import { type Verdict, verifyLog } from '../src/audit/verify.ts';
import { auditRecord } from './audit-records.ts';

const seed = Number(process.env.LANDFALL_TEST_SEED ?? Math.floor(Math.random() * 2 ** 31));
console.info(`audit log: LANDFALL_TEST_SEED=${seed}`);
let state = seed;
/** A whole number below `bound` (mulberry32). */
function random(bound: number): number {
  state = (state + 0x6d2b79f5) | 0;
  let t = Math.imul(state ^ (state >>> 15), 1 | state);
  t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
  return Math.floor((((t ^ (t >>> 14)) >>> 0) / 4294967296) * bound);
}

const logger = createLogger('test', 'silent');
const everything = { fromMs: Number.NEGATIVE_INFINITY, toMs: Number.POSITIVE_INFINITY };

interface Place {
  folder: string;
  log: string;
  shard: string;
  elsewhere: string;
  key: string;
  signer: CheckpointSigner;
}
const made: string[] = [];
function place(): Place {
  const folder = mkdtempSync(join(tmpdir(), 'landfall-audit-'));
  made.push(folder);
  const signer = CheckpointSigner.open(join(folder, 'signing.pem'));
  const key = join(folder, 'auditors.pem');
  writeFileSync(key, signer.publicPem);
  const log = join(folder, 'log');
  return { folder, log, shard: join(log, 'one'), elsewhere: join(folder, 'elsewhere.jsonl'), key, signer };
}
const open = ({ shard, signer, elsewhere }: Place, more: Partial<AuditLogOptions> = {}) =>
  AuditLog.open({
    ...{ folder: shard, shard: 'one', signer, logger, checkpointFile: elsewhere },
    ...{ segmentBytes: 10_000, durability: 'system', ...more },
  });
const verify = ({ log, elsewhere, key }: Place): Promise<Verdict> =>
  verifyLog({ log, checkpoints: elsewhere, key, ...everything });
afterAll(() => {
  for (const folder of made) rmSync(folder, { recursive: true, force: true });
});

const split = (bytes: Buffer): string[] => bytes.toString('latin1').split(/(?<=\n)/);
/** All lines from `from` on made to follow from those before, as one would who knows how but has no key. */
function rechained(lines: readonly string[]): string[] {
  let head: Head = origin('one');
  return lines.map((line) => {
    const known = readLine(Buffer.from(line.trimEnd(), 'latin1'));
    const next = nextLine(known ?? auditRecord(), head);
    head = next.head;
    return Buffer.from(next.line).toString('latin1');
  });
}

describe('what was done to a log is found', () => {
  const sealed = place();
  let files: Map<string, Buffer>;
  let lines: string[];

  beforeAll(async () => {
    for (let run = 0; run < 3; run++) {
      const log = await open(sealed);
      for (let i = 0; i < 6; i++) {
        await Promise.all(
          Array.from({ length: 8 }, () => log.append(auditRecord({ resource: '模型/问答\n2' }))),
        );
      }
      await log.close();
    }
    files = new Map(segmentsOf(sealed.shard).map(({ path }) => [path, readFileSync(path)]));
    lines = [...files.values()].flatMap(split);
  });

  /** Puts lines back into segments as the log itself would. */
  function layOut(changed: readonly string[]): Map<string, Buffer> {
    const each = Math.ceil(changed.length / files.size);
    const parts = Array.from({ length: files.size }, (_, i) => changed.slice(i * each, (i + 1) * each));
    const laid = parts
      .filter((part) => part.length > 0)
      .map((part) => {
        const seq = readLine(Buffer.from(part[0]!.trimEnd(), 'latin1'))?.seq ?? 1;
        return [join(sealed.shard, segmentName(seq)), Buffer.from(part.join(''), 'latin1')] as const;
      });
    return new Map(laid);
  }

  const withLines = (change: (list: string[]) => void, rechain: boolean) => {
    const list = [...lines];
    change(list);
    return layOut(rechain ? rechained(list) : list);
  };
  const withFile = (change: (bytes: Buffer) => Buffer) => {
    const paths = [...files.keys()];
    const path = paths[random(paths.length)]!;
    return new Map(files).set(path, change(files.get(path)!));
  };
  const cut = (bytes: Buffer, from: number, to: number) =>
    Buffer.concat([bytes.subarray(0, from), bytes.subarray(to)]);
  const put = (bytes: Buffer, at: number, more: Buffer) =>
    Buffer.concat([bytes.subarray(0, at), more, bytes.subarray(at)]);

  const harms: Record<string, (rechain: boolean) => Map<string, Buffer>> = {
    'a byte changed': () =>
      withFile((bytes) => {
        const changed = Buffer.from(bytes);
        const at = random(bytes.length);
        changed[at] = (bytes[at]! + 1 + random(255)) % 256;
        return changed;
      }),
    'a line changed': (rechain) =>
      withLines((list) => {
        const at = random(list.length);
        list[at] = list[at]!.replace(/"outcome":"OK"/, '"outcome":"PERMISSION_DENIED"');
      }, rechain),
    'a line inserted': (rechain) =>
      withLines((list) => list.splice(random(list.length + 1), 0, list[random(list.length)]!), rechain),
    'bytes inserted': () =>
      withFile((bytes) => put(bytes, random(bytes.length + 1), Buffer.from([random(256)]))),
    'a line deleted': (rechain) => withLines((list) => list.splice(random(list.length), 1), rechain),
    'bytes deleted': () =>
      withFile((bytes) => {
        const at = random(bytes.length);
        return cut(bytes, at, at + 1 + random(2000));
      }),
    'a segment deleted': () => {
      const left = new Map(files);
      left.delete([...files.keys()][random(files.size)]!);
      return left;
    },
    'two lines swapped': (rechain) =>
      withLines((list) => {
        const a = random(list.length - 1);
        const b = a + 1 + random(list.length - a - 1);
        [list[a], list[b]] = [list[b]!, list[a]!];
      }, rechain),
    'two segments swapped': () => {
      const [first, second] = [...files.keys()];
      return new Map(files).set(first!, files.get(second!)!).set(second!, files.get(first!)!);
    },
    'the end cut off': (rechain) => withLines((list) => list.splice(1 + random(list.length - 1)), rechain),
    'a file cut off': () => withFile((bytes) => bytes.subarray(0, random(bytes.length))),
  };

  const same = (changed: ReadonlyMap<string, Buffer>) =>
    changed.size === files.size && [...changed].every(([path, bytes]) => files.get(path)?.equals(bytes));
  function lay(changed: ReadonlyMap<string, Buffer>): void {
    for (const { path } of segmentsOf(sealed.shard)) rmSync(path);
    for (const [path, bytes] of changed) writeFileSync(path, bytes);
  }

  test('untouched it holds, over restarts and segments', async () => {
    const { verdict, shards } = await verify(sealed);
    expect(verdict).toBe('holds');
    // 3 runs of 48 calls, each opened and closed.
    expect(shards).toMatchObject([{ shard: 'one', lines: 3 * 50, last: 3 * 50, unsealed: 0 }]);
    expect(shards[0]!.segments).toBeGreaterThan(4);
    expect(lines).toEqual(rechained(lines));
  });

  test('1,000 edits, insertions, deletions, reorderings and truncations', { timeout: 120_000 }, async () => {
    const names = Object.keys(harms);
    const missed: string[] = [];
    let done = 0;
    while (done < 1000) {
      const name = names[done % names.length]!;
      const rechain = random(2) === 1;
      const before = state;
      const changed = harms[name]!(rechain);
      if (same(changed)) continue;
      done += 1;
      lay(changed);
      const { verdict, firstBad } = await verify(sealed);
      if (verdict !== 'broken' || !firstBad) missed.push(`${name}, rechained: ${rechain}, state ${before}`);
    }
    lay(files);
    expect(missed).toEqual([]);
    expect((await verify(sealed)).verdict).toBe('holds');
  });

  test('a chain that was wholly rewritten, with checkpoints of its own', async () => {
    const forged = place();
    cpSync(sealed.log, forged.log, { recursive: true });
    const other = CheckpointSigner.open(join(forged.folder, 'other.pem'));
    const records = rechained(lines.map((line) => line.replace('"subject":"key:1"', '"subject":"key:2"')));
    for (const { path } of segmentsOf(forged.shard)) rmSync(path);
    writeFileSync(join(forged.shard, segmentName(1)), Buffer.from(records.join(''), 'latin1'));
    const end = readLine(Buffer.from(records.at(-1)!.trimEnd(), 'latin1')) as ChainLine;
    const head = { shard: 'one', seq: end.seq, hash: end.hash, time: new Date().toISOString() };
    writeFileSync(join(forged.shard, CHECKPOINTS), other.line({ ...head, state: 'closed' }));
    writeFileSync(join(forged.log, 'public.pem'), other.publicPem);
    // By itself it is as good as any; against what was kept elsewhere it is none.
    expect((await verifyLog({ log: forged.log, checkpoints: '', key: '', ...everything })).verdict).toBe(
      'holds',
    );
    expect(
      (await verifyLog({ ...forged, checkpoints: sealed.elsewhere, key: sealed.key, ...everything })).verdict,
    ).toBe('broken');
    expect((await verifyLog({ ...forged, checkpoints: '', key: sealed.key, ...everything })).verdict).toBe(
      'broken',
    );
  });

  test('what cannot be told is not called sound', async () => {
    const bare = { ...everything, log: sealed.log, checkpoints: sealed.elsewhere, key: sealed.key };
    for (const lacking of [
      { log: join(sealed.folder, 'none') },
      { checkpoints: join(sealed.folder, 'none') },
      { key: join(sealed.folder, 'none') },
      { key: sealed.elsewhere },
    ]) {
      expect(await verifyLog({ ...bare, ...lacking })).toMatchObject({
        verdict: 'cannot tell',
        reason: expect.any(String),
      });
    }
    const empty = join(sealed.folder, 'empty.jsonl');
    writeFileSync(empty, '');
    expect(await verifyLog({ ...bare, checkpoints: empty })).toMatchObject({ verdict: 'cannot tell' });
  });

  test('a range is checked between its checkpoints', async () => {
    const checkpoints = readFileSync(sealed.elsewhere, 'utf8')
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line));
    const fromMs = Date.parse(checkpoints.at(-1).time) - 1;
    const { verdict, shards } = await verifyLog({
      ...sealed,
      checkpoints: sealed.elsewhere,
      fromMs,
      toMs: everything.toMs,
    });
    expect(verdict).toBe('holds');
    expect(shards[0]!.lines).toBeLessThan(3 * 50);
  });
});

test('segments are dropped behind a signed word, and the rest stays provable', async () => {
  const kept = place();
  const log = await open(kept, { segmentBytes: 5000 });
  for (let i = 0; i < 100; i++) await log.append(auditRecord());
  const before = segmentsOf(kept.shard).length;
  const last = await dropSegments(log, Date.now() + 1000);
  await log.close();
  expect([before > 5, segmentsOf(kept.shard)[0]!.first]).toEqual([true, last + 1]);
  expect(await verify(kept)).toMatchObject({ verdict: 'holds', shards: [{ first: last + 1 }] });
  // The same loss without that word is a loss.
  rmSync(segmentsOf(kept.shard)[0]!.path);
  expect((await verify(kept)).verdict).toBe('broken');
});

test('killed in the middle of writing, again and again: the chain goes on, and no kept line is lost', {
  timeout: 60_000,
}, async () => {
  const killed = place();
  let most = 0;
  for (let round = 0; round < 6; round++) {
    const child: ChildProcess = fork(join(import.meta.dirname, 'audit-writer.ts'), [killed.folder]);
    const exit = once(child, 'exit');
    const lines = 200 + random(2000);
    await new Promise<void>((resolve) => {
      let told = 0;
      child.on('message', (seq: number) => {
        most = Math.max(most, seq);
        if (++told === lines) {
          child.kill('SIGKILL');
          resolve();
        }
      });
    });
    await exit;
    expect((await verify(killed)).verdict).toBe('holds');
    const newest = segmentsOf(killed.shard).at(-1)!.path;
    // What a write leaves that the process did not live to end.
    if (round % 2 === 1) writeFileSync(newest, Buffer.concat([readFileSync(newest), Buffer.from('{"seq":')]));
  }
  const log = await open(killed);
  await log.close();
  const { verdict, shards } = await verify(killed);
  expect(verdict).toBe('holds');
  expect(shards[0]!.last).toBeGreaterThanOrEqual(most);
});

/** A disk that takes nothing until it is told to. */
class HeldDisk {
  #held: PromiseWithResolvers<void> | undefined;
  /** Syncs that wait. */
  waiting = 0;

  readonly sync = async (): Promise<void> => {
    this.waiting += 1;
    await this.#held?.promise;
    this.waiting -= 1;
  };
  hold(): void {
    this.#held = Promise.withResolvers();
  }
  release(): void {
    this.#held?.resolve();
    this.#held = undefined;
  }
  fail(cause: Error): void {
    this.#held?.reject(cause);
  }
}

describe('lines and the disk', () => {
  const vouchedFor = ({ elsewhere }: Place): number =>
    JSON.parse(readFileSync(elsewhere, 'utf8').trim().split('\n').at(-1)!).seq;

  test('who waits for the disk waits, who does not goes on, and nothing is vouched for that it has not', async () => {
    const held = place();
    const disk = new HeldDisk();
    const log = await open(held, { sync: disk.sync });
    const indexed: number[] = [];
    log.onWritten = (_, seq) => indexed.push(seq);
    disk.hold();
    let isOnDisk = false;
    const change = log.append(auditRecord(), 'disk').then((seq) => {
      isOnDisk = true;
      return seq;
    });
    // More lines than one checkpoint stands for: one is due and has to wait.
    const calls = await Promise.all(Array.from({ length: 1500 }, () => log.append(auditRecord())));
    expect(disk.waiting).toBe(1);
    expect([isOnDisk, vouchedFor(held), indexed]).toEqual([false, 1, []]);
    disk.release();
    expect(await change).toBe(2);
    await log.synced();
    expect(indexed).toEqual([2, ...calls]);
    await log.close();
    expect(vouchedFor(held)).toBe(1 + 1 + 1500 + 1);
    expect((await verify(held)).verdict).toBe('holds');
  });

  test('a log that is to wait for the disk does so for every line', async () => {
    const held = place();
    const disk = new HeldDisk();
    const log = await open(held, { sync: disk.sync, durability: 'disk' });
    disk.hold();
    let told = 0;
    const all = Array.from({ length: 20 }, () => log.append(auditRecord(), 'system').then(() => ++told));
    while (disk.waiting === 0) await setImmediate();
    expect(told).toBe(0);
    disk.release();
    await Promise.all(all);
    await log.close();
    expect((await verify(held)).verdict).toBe('holds');
  });

  test('a disk that fails is the end of taking lines, and the next start goes on', async () => {
    const failing = place();
    const disk = new HeldDisk();
    const log = await open(failing, { sync: disk.sync });
    disk.hold();
    const change = log.append(auditRecord(), 'disk');
    while (disk.waiting === 0) await setImmediate();
    disk.fail(new Error('EIO: i/o error, fdatasync'));
    await expect(change).rejects.toMatchObject({ code: status.UNAVAILABLE });
    await expect(log.append(auditRecord())).rejects.toMatchObject({ code: status.UNAVAILABLE });
    expect(vouchedFor(failing)).toBe(1);
    const next = await open(failing);
    await next.append(auditRecord(), 'disk');
    await next.close();
    expect((await verify(failing)).verdict).toBe('holds');
  });
});
