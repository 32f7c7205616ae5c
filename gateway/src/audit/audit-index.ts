import type { Database } from '@landfall/common/db/database.ts';
import type { Logger } from '@landfall/common/log/logger.ts';
import { AuditEntrySchema } from '../db/audit-entities.ts';
import type { AuditLog } from './audit-log.ts';
import { type AuditRecord, readLine } from './chain.ts';
import { linesOf, segmentsOf } from './segments.ts';

/** PostgreSQL takes 65,535 parameters a statement, and a row has 15. */
const BATCH = 500;
/** How far the index may stand behind the log. */
const BEHIND_MS = 1000;

type Row = AuditRecord & { shard: string; seq: number };

/**
 * Rows of the database by which lines of the log are found. It follows the log, a batch at a time and never in the
 * way of a call; what it had not yet when the process died is read from the log again.
 */
export class AuditIndex {
  readonly #database: Database;
  readonly #log: AuditLog;
  readonly #logger: Logger;
  #rows: Row[] = [];
  #timer: NodeJS.Timeout | undefined;
  #writing: Promise<void> = Promise.resolve();

  constructor(database: Database, log: AuditLog, logger: Logger) {
    this.#database = database;
    this.#log = log;
    this.#logger = logger;
  }

  /** Takes in what the log has and the index has not, and follows from there. */
  async start(): Promise<void> {
    const { seq: end } = this.#log.head;
    this.#log.onWritten = (record, seq) => this.#note(record, seq);
    const { shard, folder } = this.#log;
    const newest = await this.#database.read((em) =>
      em.find(AuditEntrySchema, { shard, seq: { $ne: null } }, { orderBy: { seq: 'desc' }, limit: 1 }),
    );
    const known = newest[0]?.seq ?? 0;
    const segments = segmentsOf(folder);
    const from = Math.max(
      0,
      segments.findLastIndex(({ first }) => first <= known + 1),
    );
    let missed: Row[] = [];
    for (const { path } of segments.slice(from)) {
      for await (const { bytes } of linesOf(path)) {
        const line = readLine(bytes);
        if (!line || line.seq <= known || line.seq > end) continue;
        missed.push(rowOf(line, shard, line.seq));
        if (missed.length < BATCH) continue;
        await this.#insert(missed);
        missed = [];
      }
    }
    await this.#insert(missed);
  }

  /** Resolves when what the log has now can be found. */
  async caughtUp(): Promise<void> {
    await this.#log.synced();
    this.#flush();
    await this.#writing;
  }

  async stop(): Promise<void> {
    await this.caughtUp();
    this.#log.onWritten = () => {};
  }

  /** Forgets lines that the log has dropped. */
  async forget(upTo: number): Promise<void> {
    const { shard } = this.#log;
    await this.#database.read((em) => em.nativeDelete(AuditEntrySchema, { shard, seq: { $lte: upTo } }));
  }

  #note(record: AuditRecord, seq: number): void {
    // A change has its row from the transaction that made it, and a mark is no decision.
    if (record.kind !== 'call') return;
    this.#rows.push(rowOf(record, this.#log.shard, seq));
    if (this.#rows.length >= BATCH) this.#flush();
    else this.#timer ??= setTimeout(() => this.#flush(), BEHIND_MS).unref();
  }

  #flush(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const rows = this.#rows;
    this.#rows = [];
    if (rows.length === 0) return;
    this.#writing = this.#writing.then(async () => {
      try {
        await this.#insert(rows);
      } catch (cause) {
        // The log has them; the next start takes them in.
        this.#logger.error({ err: cause, lines: rows.length }, 'lines of the audit log could not be indexed');
      }
    });
  }

  /** In one statement, past the mapper of rows: a busy gateway has thousands a second. */
  async #insert(rows: readonly Row[]): Promise<void> {
    if (rows.length === 0) return;
    // Of two lines with one id, the later tells more.
    const byId = [...new Map(rows.map((row) => [row.id, row])).values()];
    const values = byId.map(() => PLACES).join(', ');
    await this.#database.read((em) =>
      em.execute(
        `insert into audit_entry (${COLUMNS.join(', ')}) values ${values} ${LATER_WINS}`,
        byId.flatMap(cells),
      ),
    );
  }
}

const COLUMNS = [
  ...['id', 'tenant', 'time_ms', 'kind', 'subject', 'route', 'method', 'resource', 'outcome', 'policy'],
  ...['request', 'response', 'shard', 'seq', 'cache'],
];
const PLACES = `(${COLUMNS.map(() => '?').join(', ')})`;
const LATER_WINS = `on conflict (id) do update set ${COLUMNS.slice(1)
  .map((name) => `${name} = excluded.${name}`)
  .join(', ')}`;

function cells({ id, tenant, timeMs, kind, subject, route, method, resource, ...row }: Row) {
  const { outcome, policy, request, response, shard, seq } = row;
  return [
    id,
    tenant,
    timeMs,
    kind,
    subject,
    route,
    method,
    resource,
    outcome,
    policy,
    request,
    response,
    shard,
    seq,
    row.cache ?? '',
  ];
}

function rowOf(record: AuditRecord, shard: string, seq: number): Row {
  const { id, tenant, timeMs, kind, subject, route, method, resource, outcome, policy } = record;
  const { request, response, cache = '' } = record;
  return {
    id,
    tenant,
    timeMs,
    kind,
    subject,
    route,
    method,
    resource,
    outcome,
    policy,
    request,
    response,
    shard,
    seq,
    cache,
  };
}
