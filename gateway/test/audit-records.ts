import { randomUUID } from 'node:crypto';
import { type AuditRecord, sha256 } from '../src/audit/chain.ts';

/** A record as of a call, with parts of its own. */
export function auditRecord(parts: Partial<AuditRecord> = {}): AuditRecord {
  const id = randomUUID();
  return {
    ...{ id, timeMs: Date.now(), kind: 'call', tenant: 'default', subject: 'key:1' },
    ...{ route: 'POST /v1/chat/completions', method: 'landfall.text.v1.TextInferenceService/Generate' },
    ...{ resource: 'models/qa', outcome: 'OK', policy: '', request: sha256(id), response: sha256(`${id}.`) },
    ...parts,
  };
}
