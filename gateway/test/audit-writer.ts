/** Writes to an audit log without end and tells which lines it was told are kept: `audit-writer.ts FOLDER`. */
import { join } from 'node:path';
import { createLogger } from '@landfall/common/log/logger.ts';
import { AuditLog } from '../src/audit/audit-log.ts';
import { CheckpointSigner } from '../src/audit/checkpoint.ts';
import { auditRecord } from './audit-records.ts';

const folder = process.argv[2]!;
const log = await AuditLog.open({
  folder: join(folder, 'log/one'),
  shard: 'one',
  signer: CheckpointSigner.open(join(folder, 'signing.pem')),
  logger: createLogger('test', 'silent'),
  checkpointFile: join(folder, 'elsewhere.jsonl'),
  segmentBytes: 100_000,
  durability: 'system',
});
process.once('disconnect', () => process.exit());
const writer = async () => {
  while (process.connected) process.send!(await log.append(auditRecord()));
};
await Promise.all(Array.from({ length: 16 }, writer));
