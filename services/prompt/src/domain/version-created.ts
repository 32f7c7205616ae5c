import { create } from '@bufbuild/protobuf';
import type { EntityManager } from '@landfall/common/db/database.ts';
import { announce } from '@landfall/common/events/outbox.ts';
import { PromptVersionCreatedSchema } from '@landfall/proto/landfall/event/v1/events_pb.js';
import type { VersionRow } from '../db/entities.ts';
import { record } from './audit.ts';
import { promptTarget } from './targets.ts';

/** Records and announces a version, in the transaction that makes it. */
export async function versionCreated(em: EntityManager, version: VersionRow): Promise<void> {
  const { tenant, name, digest, author } = version;
  await record(em, {
    ...{ tenant, subject: author, action: 'version.created', target: promptTarget(name) },
    ...{ item: version.version, after: version.version, afterDigest: digest },
  });
  await announce(em, 'prompt', {
    subject: 'landfall.prompt.version.created.v1',
    schema: PromptVersionCreatedSchema,
    payload: create(PromptVersionCreatedSchema, { tenant, name, version: version.version, digest, author }),
  });
}
