import { create } from '@bufbuild/protobuf';
import { once } from '@landfall/common/db/idempotency.ts';
import { alreadyExists, resourceExhausted } from '@landfall/common/errors/errors.ts';
import {
  CreateCollectionRequestSchema,
  CreateCollectionResponseSchema,
} from '@landfall/proto/landfall/vision/v1/collection_service_pb.js';
import { v7 as uuidv7 } from 'uuid';
import { collectionReply } from '../../collections/find-collection.ts';
import type { CollectionRoute } from '../../context.ts';
import { CollectionEntity, type CollectionRow } from '../../db/collection-entities.ts';
import { record } from '../../domain/audit.ts';

/** Of a tenant. */
const MOST_COLLECTIONS = 1000;

export const createCollection: CollectionRoute<'createCollection'> =
  ({ database, versions, embeddings }) =>
  async (request, { identity, signal }) => {
    const { tenant, subject } = identity;
    const { collection: name, model: asked, description, requestId } = request;
    const call = {
      ...{ tenant, requestId, method: 'landfall.vision.v1.CollectionService/CreateCollection' },
      ...{ input: CreateCollectionRequestSchema, output: CreateCollectionResponseSchema },
    };
    const version = asked === '' ? undefined : await versions.find(tenant, asked, 'model', signal);
    const dimensions = version ? await embeddings.dimensions(version, signal) : request.dimensions;
    const row: CollectionRow = {
      ...{ id: uuidv7(), tenant, name, model: version?.ref ?? '', dimensions, description, author: subject },
      ...{ createdMs: Date.now(), entries: 0, lastLabel: 0 },
    };
    return database.transaction((em) =>
      once(em, call, request, async () => {
        if (await em.findOne(CollectionEntity, { tenant, name })) {
          throw alreadyExists(`there is a collection '${name}'; take another name, or delete it`);
        }
        if ((await em.count(CollectionEntity, { tenant })) >= MOST_COLLECTIONS) {
          throw resourceExhausted(`a tenant has at most ${MOST_COLLECTIONS} collections: delete one`, {
            reason: 'TOO_MANY_COLLECTIONS',
          });
        }
        await em.insert(CollectionEntity, row);
        const detail = `${dimensions} dimensions${row.model && `, ${row.model}`}`;
        await record(em, identity, { action: 'collection.created', target: `collections/${name}`, detail });
        return create(CreateCollectionResponseSchema, { collection: collectionReply(row) });
      }),
    );
  };
