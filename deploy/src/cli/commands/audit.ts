import { join } from 'node:path';
import { toJson } from '@bufbuild/protobuf';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import { type Verdict, verifyLog } from '@landfall/gateway/audit/verify.ts';
import { SearchAuditResponseSchema } from '@landfall/proto/landfall/gateway/v1/admin_service_pb.js';
import { type AuditEntry, AuditEntrySchema } from '@landfall/proto/landfall/gateway/v1/key_pb.js';
import { type Command, Found, numberOf, type Session, textOf, UsageError, type Values } from '../command.ts';
import { table } from '../render.ts';
import { time } from './prompt-targets.ts';

const PAGE = 500;
const DEFAULT_ROWS = 50;
const EXIT = { holds: 0, broken: 1, 'cannot tell': 2 } as const;

const BOUNDS = { from: { type: 'string' }, to: { type: 'string' } } as const;
const FILTERS = { ...BOUNDS, subject: { type: 'string' }, resource: { type: 'string' } } as const;
const FILTER_MEANING = {
  from: 'at this time or later',
  to: 'before this time',
  subject: 'of this caller, such as key:UUID',
  resource: 'about this, such as models/medical-qa or keys/UUID',
};

/** A time among the options, in milliseconds since 1970. @throws UsageError */
function timeOf(values: Values, name: string): number | undefined {
  const text = textOf(values, name);
  if (text === '') return undefined;
  const ms = Date.parse(text);
  if (Number.isNaN(ms))
    throw new UsageError(`--${name} is a time such as 2026-01-31T08:00 and not '${text}'`);
  return ms;
}

function filters(values: Values) {
  const [from, to] = [timeOf(values, 'from'), timeOf(values, 'to')];
  return {
    subject: textOf(values, 'subject'),
    resource: textOf(values, 'resource'),
    ...(from === undefined ? {} : { from: timestampFromMs(from) }),
    ...(to === undefined ? {} : { to: timestampFromMs(to) }),
  };
}

const row = (entry: AuditEntry) => [
  time(entry.time),
  entry.subject,
  entry.route || entry.method,
  entry.resource,
  entry.outcome,
  `${entry.shard}:${entry.sequence}`,
];

async function* entries({ clients, values }: Session): AsyncGenerator<AuditEntry> {
  let pageToken = '';
  do {
    const page = await clients.admin.searchAudit({ ...filters(values), pageSize: PAGE, pageToken });
    yield* page.entries;
    pageToken = page.nextPageToken;
  } while (pageToken);
}

function verdictText({ verdict, shards, firstBad, reason }: Verdict): string {
  const counts = table(
    ['SHARD', 'SEGMENTS', 'LINES', 'FROM', 'TO', 'CHECKPOINTS', 'UNSEALED'],
    shards.map(({ shard, segments, lines, first, last, checkpoints, unsealed }) => [
      shard,
      ...[segments, lines, first, last, checkpoints, unsealed].map(String),
    ]),
  );
  if (!firstBad) return `${counts}\n${verdict}${reason ? `: ${reason}` : ''}`;
  const { shard, file, line, seq, fault } = firstBad;
  const at = [shard, file, line && `line ${line}`, seq && `entry ${seq}`].filter(Boolean).join(', ');
  return `${counts}\n${verdict}: ${at}: ${fault}`;
}

export const auditCommands: Record<string, Command> = {
  'audit verify': {
    usage: 'audit verify',
    summary:
      'Checks the audit log offline. Exits 0 where it holds, 1 where it does not, 2 where it cannot be told.',
    arguments: [],
    options: { log: { type: 'string' }, checkpoints: { type: 'string' }, key: { type: 'string' }, ...BOUNDS },
    meaning: {
      log: "folder of the log (the gateway's folder of LANDFALL_HOME)",
      checkpoints: 'file of checkpoints as they were kept elsewhere (those in the log itself)',
      key: 'file of public keys in PEM (the one in the log itself)',
      from: 'lines from this time on, beginning at a checkpoint before it',
      to: 'lines to this time, ending at a checkpoint behind it',
    },
    example: 'audit verify --checkpoints /mnt/vault/checkpoints.jsonl --key auditors.pem',
    async run(session) {
      const { values, json } = session;
      const verdict = await verifyLog({
        log: textOf(values, 'log') || join(session.home, 'gateway', 'audit'),
        checkpoints: textOf(values, 'checkpoints'),
        key: textOf(values, 'key'),
        fromMs: timeOf(values, 'from') ?? Number.NEGATIVE_INFINITY,
        toMs: timeOf(values, 'to') ?? Number.POSITIVE_INFINITY,
      });
      session.line(json ? JSON.stringify(verdict) : verdictText(verdict));
      const code = EXIT[verdict.verdict];
      if (code !== 0) throw new Found(code, `the audit log: ${verdict.verdict}`);
    },
  },
  'audit search': {
    usage: 'audit search',
    summary: 'Calls and changes of configuration that were recorded, newest first.',
    arguments: [],
    options: { ...FILTERS, limit: { type: 'string' } },
    meaning: { ...FILTER_MEANING, limit: `at most so many (${DEFAULT_ROWS})` },
    example: 'audit search --resource models/medical-qa --from 2026-01-31',
    async run(session) {
      const { values } = session;
      const pageSize = numberOf(values, 'limit') ?? DEFAULT_ROWS;
      const reply = await session.clients.admin.searchAudit({ ...filters(values), pageSize });
      session.print(SearchAuditResponseSchema, reply, () =>
        table(['TIME', 'CALLER', 'CALL', 'RESOURCE', 'OUTCOME', 'LINE'], reply.entries.map(row)),
      );
    },
  },
  'audit export': {
    usage: 'audit export',
    summary: 'All that was recorded, an object of JSON a line, newest first.',
    arguments: [],
    options: FILTERS,
    meaning: FILTER_MEANING,
    example: 'audit export --from 2026-01-01 --to 2026-02-01',
    async run(session) {
      for await (const entry of entries(session))
        session.line(JSON.stringify(toJson(AuditEntrySchema, entry)));
    },
  },
};
