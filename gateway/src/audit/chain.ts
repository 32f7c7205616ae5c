import { hash as digest, randomUUID } from 'node:crypto';

/** What a line of the log tells. Digests and names, never what was said. */
export interface AuditRecord {
  /** UUID of version 7. A stream has two lines of one id: when its first part was about to be shown, and its end. */
  id: string;
  /** Milliseconds since 1970. */
  timeMs: number;
  /** A call, a change of configuration, or a mark that the log itself makes. */
  kind: 'call' | 'change' | 'mark';
  tenant: string;
  subject: string;
  /** How it came in. */
  route: string;
  /** Full method name. */
  method: string;
  /** What it was about, as `models/NAME`. */
  resource: string;
  /** Name of a gRPC code; `BEGUN` for a stream whose end is another line. */
  outcome: string;
  /** Version of the policy that decided on its content. */
  policy: string;
  /** What the answer's cache made of it: `hit`, `similar`, `miss` or `bypass`; left out where it was not asked. */
  cache?: string;
  /** SHA-256 over the protobuf encodings of all messages in order, base64url; empty where there were none. */
  request: string;
  response: string;
}

/** Where a chain ends. */
export interface Head {
  seq: number;
  hash: string;
}

/** A line as it was read, before it is believed. */
export interface ChainLine extends AuditRecord {
  seq: number;
  prev: string;
  hash: string;
  /** Whether `hash` is that of the line's bytes. */
  holds: boolean;
}

/** A UUID of version 7: those of one gateway sort by their milliseconds. */
export function recordId(timeMs: number): string {
  const time = timeMs.toString(16).padStart(12, '0');
  return `${time.slice(0, 8)}-${time.slice(8)}-7${randomUUID().slice(15)}`;
}

export const sha256 = (data: string | Uint8Array): string => digest('sha256', data, 'base64url');

/** The end of a chain that has no line yet: bound to its shard, so that no shard passes for another. */
export const origin = (shard: string): Head => ({ seq: 0, hash: sha256(`landfall audit log ${shard}`) });

const HASH_KEY = ',"hash":"';
/** `,"hash":"` and 43 characters and `"}` */
const SUFFIX = /,"hash":"[A-Za-z0-9_-]{43}"\}$/;
const SUFFIX_BYTES = HASH_KEY.length + 43 + 2;

/**
 * The next line of a chain. Its canonical bytes are the line itself up to `,"hash":`, which hold the number of the
 * line and the hash of the one before: whoever has `sha256sum` can check it.
 */
export function nextLine(record: AuditRecord, before: Head): { line: string; head: Head } {
  const { id, timeMs, kind, tenant, subject, route, method, resource, outcome, policy, cache } = record;
  const seq = before.seq + 1;
  const whole = JSON.stringify({
    ...{ seq, time: new Date(timeMs).toISOString(), kind, id, tenant, subject, route, method, resource },
    ...{
      outcome,
      policy,
      ...(cache ? { cache } : {}),
      request: record.request,
      response: record.response,
      prev: before.hash,
    },
  });
  const body = whole.slice(0, -1);
  const hash = sha256(body);
  return { line: `${body}${HASH_KEY}${hash}"}\n`, head: { seq, hash } };
}

/** A line without its line break, or undefined where it has not even the form of one. */
export function readLine(bytes: Buffer): ChainLine | undefined {
  if (!SUFFIX.test(bytes.subarray(-SUFFIX_BYTES).toString('latin1'))) return undefined;
  let parsed: Record<string, unknown>;
  try {
    parsed = JSON.parse(bytes.toString());
  } catch {
    return undefined;
  }
  const { seq, time, prev, hash, ...rest } = parsed;
  const timeMs = Date.parse(String(time));
  if (!Number.isSafeInteger(seq) || Number.isNaN(timeMs) || typeof prev !== 'string') return undefined;
  const holds = sha256(bytes.subarray(0, -SUFFIX_BYTES)) === hash;
  return {
    ...(rest as unknown as AuditRecord),
    timeMs,
    seq: seq as number,
    prev,
    hash: hash as string,
    holds,
  };
}
