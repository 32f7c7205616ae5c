import { create } from '@bufbuild/protobuf';
import { once } from '@landfall/common/db/idempotency.ts';
import {
  DeleteCollectionRequestSchema,
  DeleteCollectionResponseSchema,
} from '@landfall/proto/landfall/vision/v1/collection_service_pb.js';
import { lockCollection } from '../../collections/find-collection.ts';
import type { CollectionRoute } from '../../context.ts';
import { CollectionEntity, CollectionEntryEntity, type CollectionRow } from '../../db/collection-entities.ts';
import { record } from '../../domain/audit.ts';

export const deleteCollection: CollectionRoute<'deleteCollection'> =
  ({ database, indexes }) =>
  async (request, { identity }) => {
    const { tenant } = identity;
    const { collection: name, requestId } = request;
    const call = {
      ...{ tenant, requestId, method: 'landfall.vision.v1.CollectionService/DeleteCollection' },
      ...{ input: DeleteCollectionRequestSchema, output: DeleteCollectionResponseSchema },
    };
    let gone: CollectionRow | undefined;
    const answer = await database.transaction((em) =>
      once(em, call, request, async () => {
        const row = await lockCollection(em, tenant, name);
        await em.nativeDelete(CollectionEntryEntity, { collection: row.id });
        await em.nativeDelete(CollectionEntity, { id: row.id });
        const detail = `${row.entries} entries`;
        await record(em, identity, { action: 'collection.deleted', target: `collections/${name}`, detail });
        gone = row;
        return create(DeleteCollectionResponseSchema, {});
      }),
    );
    if (gone) await indexes.drop(gone);
    return answer;
  };
