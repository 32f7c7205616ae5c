import type { KeyObject } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { type ChainLine, type Head, origin, readLine } from './chain.ts';
import { type Checkpoint, readCheckpoint, readPublicKeys } from './checkpoint.ts';
import { MOST_LINES, MOST_MS } from './checkpoint-writer.ts';
import { CHECKPOINTS, linesOf, type Segment, segmentName, segmentsOf, shardsOf } from './segments.ts';

export interface VerifyOptions {
  /** Folder of the log, with a folder for each shard. */
  log: string;
  /** Checkpoints as they were kept elsewhere; empty takes those that lie in the log. */
  checkpoints: string;
  /** Public keys in PEM; empty takes the one that lies in the log. */
  key: string;
  /** Bounds of what is checked, in milliseconds since 1970. */
  fromMs: number;
  toMs: number;
}

/** What was looked at in one shard. */
export interface ShardReport {
  shard: string;
  segments: number;
  lines: number;
  checkpoints: number;
  first: number;
  last: number;
  /** Lines behind the last checkpoint: chained, but not vouched for yet. */
  unsealed: number;
}

export interface Verdict {
  verdict: 'holds' | 'broken' | 'cannot tell';
  shards: ShardReport[];
  /** The first fault: where, and what. */
  firstBad?: { shard: string; file: string; line?: number; seq?: number; fault: string };
  /** Why it cannot be told. */
  reason?: string;
}

/** A fault of a log, with where it is. */
class Broken extends Error {
  readonly where: Omit<NonNullable<Verdict['firstBad']>, 'shard' | 'fault'>;

  constructor(fault: string, where: Broken['where']) {
    super(fault);
    this.where = where;
  }
}

/** How long a running log may leave lines without a checkpoint: its own bound, and the time a loaded machine adds. */
const LATE_MS = MOST_MS + 60_000;

/**
 * Checks a log offline, from its lines, checkpoints and public keys alone. What can not be read is told in the verdict,
 * and not thrown: it is no proof of anything.
 */
export async function verifyLog(options: VerifyOptions): Promise<Verdict> {
  const reports: ShardReport[] = [];
  try {
    return await verdictOn(options, reports);
  } catch (cause) {
    const { code, path } = cause as NodeJS.ErrnoException;
    if (!code || !(cause instanceof Error)) throw cause;
    return {
      verdict: 'cannot tell',
      shards: reports,
      reason: `${path ?? 'a file'} can not be read (${code})`,
    };
  }
}

async function verdictOn(options: VerifyOptions, reports: ShardReport[]): Promise<Verdict> {
  const cannotTell = (reason: string): Verdict => ({ verdict: 'cannot tell', shards: reports, reason });
  const keyFile = options.key || join(options.log, 'public.pem');
  if (!existsSync(options.log)) return cannotTell(`there is no log at ${options.log}`);
  if (!existsSync(keyFile)) return cannotTell(`there is no public key at ${keyFile}; give --key FILE`);
  const keys = readPublicKeys(readFileSync(keyFile, 'utf8'));
  if (keys.size === 0) return cannotTell(`${keyFile} has no public key in PEM`);
  if (options.checkpoints && !existsSync(options.checkpoints))
    return cannotTell(`there are no checkpoints at ${options.checkpoints}`);
  let shard = '';
  try {
    const kept = options.checkpoints ? await readCheckpoints(options.checkpoints, keys) : undefined;
    const shards = new Set([...shardsOf(options.log), ...(kept?.keys() ?? [])]);
    if (shards.size === 0) return cannotTell(`${options.log} holds no shard of a log`);
    for (shard of [...shards].sort()) {
      const known = kept ?? (await readCheckpoints(join(options.log, shard, CHECKPOINTS), keys));
      const checkpoints = known.get(shard) ?? [];
      const report = { shard, segments: 0, lines: 0, checkpoints: 0, first: 0, last: 0, unsealed: 0 };
      reports.push(report);
      await verifyShard(options, checkpoints, report);
      if (checkpoints.length === 0) return cannotTell(`no checkpoint vouches for the shard ${shard}`);
    }
  } catch (cause) {
    if (!(cause instanceof Broken)) throw cause;
    const firstBad = { shard, ...cause.where, fault: cause.message };
    return { verdict: 'broken', shards: reports, firstBad };
  }
  return { verdict: 'holds', shards: reports };
}

/** Checkpoints of a file by shard. @throws Broken at the first that its signature does not hold for */
async function readCheckpoints(
  path: string,
  keys: ReadonlyMap<string, KeyObject>,
): Promise<Map<string, Checkpoint[]>> {
  const kept = new Map<string, Checkpoint[]>();
  if (!existsSync(path)) return kept;
  let line = 0;
  for await (const { bytes, whole } of linesOf(path)) {
    line += 1;
    // The last may be on its way to the disk.
    if (!whole) break;
    const read = readCheckpoint(bytes, keys);
    if ('fault' in read) throw new Broken(`the checkpoint ${read.fault}`, { file: basename(path), line });
    const { checkpoint } = read;
    const list = kept.get(checkpoint.shard) ?? [];
    list.push(checkpoint);
    kept.set(checkpoint.shard, list);
  }
  return kept;
}

async function verifyShard(
  { log, fromMs, toMs }: VerifyOptions,
  checkpoints: readonly Checkpoint[],
  report: ShardReport,
): Promise<void> {
  const segments = segmentsOf(join(log, report.shard));
  const vouched = Map.groupBy(checkpoints, ({ seq }) => seq);
  const lastVouched = checkpoints.reduce((last, { seq }) => Math.max(last, seq), 0);
  const anchor = checkpoints.findLast(({ time }) => Date.parse(time) < fromMs);
  let head = beginning(report.shard, segments, checkpoints);
  const start = Math.max(
    0,
    segments.findLastIndex(({ first }) => first <= (anchor?.seq ?? 0)),
  );
  // What lies before the range is not read but for the segment in which it begins.
  let trusted = start > 0;
  const mayBeCut = checkpoints.at(-1)?.state === 'open';
  let firstUnsealed: ChainLine | undefined;
  let last: ChainLine | undefined;
  let done = false;
  for (const segment of segments.slice(start)) {
    if (done) break;
    report.segments += 1;
    const where = { file: basename(segment.path) };
    if (!trusted && segment.first !== head.seq + 1) {
      throw new Broken(`the segment begins with line ${segment.first} where ${head.seq + 1} follows`, where);
    }
    let number = 0;
    for await (const { bytes, whole } of linesOf(segment.path)) {
      number += 1;
      const at = { ...where, line: number, seq: head.seq + 1 };
      if (!whole) {
        // A process that was killed in mid-line: nobody was told that it is kept, and the next start cuts it off.
        if (mayBeCut && segment === segments.at(-1) && head.seq >= lastVouched) break;
        throw new Broken('the last line has no end', at);
      }
      const line = readLine(bytes);
      if (!line) throw new Broken('is no line of this log', at);
      if (trusted) {
        head = { seq: line.seq - 1, hash: line.prev };
        trusted = false;
      }
      if (line.seq !== head.seq + 1)
        throw new Broken(`line ${line.seq} stands where ${head.seq + 1} follows`, at);
      if (line.prev !== head.hash) throw new Broken('does not follow from the line before', at);
      if (!line.holds) throw new Broken('its bytes are not those that its hash was made of', at);
      head = { seq: line.seq, hash: line.hash };
      for (const checkpoint of vouched.get(line.seq) ?? []) {
        if (checkpoint.hash !== line.hash)
          throw new Broken(`is another than the checkpoint of ${checkpoint.time} vouches for`, at);
      }
      last = line;
      if (line.seq > lastVouched) firstUnsealed ??= line;
      report.first ||= line.seq;
      report.last = line.seq;
      report.lines += 1;
      if (vouched.has(line.seq)) {
        report.checkpoints += 1;
        // The first checkpoint behind the range seals it.
        if (line.timeMs > toMs) {
          done = true;
          break;
        }
      }
    }
  }
  if (done) return;
  const end = { file: basename(segments.at(-1)?.path ?? segmentName(1)), seq: head.seq + 1 };
  if (head.seq < lastVouched)
    throw new Broken(`lines up to ${lastVouched} were vouched for, and the log ends with ${head.seq}`, end);
  report.unsealed = head.seq - lastVouched;
  const spanMs = last && firstUnsealed ? last.timeMs - firstUnsealed.timeMs : 0;
  checkTail(checkpoints.at(-1), report.unsealed, spanMs, end);
}

/** What the first segment must follow from: nothing, or lines that were dropped behind a checkpoint that names them. */
function beginning(shard: string, segments: readonly Segment[], checkpoints: readonly Checkpoint[]): Head {
  const first = segments[0]?.first ?? 1;
  if (first === 1) return origin(shard);
  const dropped = checkpoints.find((checkpoint) => checkpoint.dropped?.last === first - 1)?.dropped;
  if (dropped) return { seq: dropped.last, hash: dropped.hash };
  const where = { file: segmentName(1), seq: 1 };
  throw new Broken(
    `lines 1 to ${first - 1} are not here, and no checkpoint tells that they were dropped`,
    where,
  );
}

/** Lines that nothing vouches for yet are few and young, and there are none behind a log that was closed. */
function checkTail(
  newest: Checkpoint | undefined,
  unsealed: number,
  spanMs: number,
  where: { file: string; seq: number },
): void {
  if (!newest || unsealed === 0) return;
  if (newest.state === 'closed')
    throw new Broken(`${unsealed} lines stand behind the end that was vouched for`, where);
  if (unsealed > 10 * MOST_LINES || spanMs > LATE_MS) {
    throw new Broken(
      `${unsealed} lines stand behind the last checkpoint, more than a running log leaves`,
      where,
    );
  }
}
