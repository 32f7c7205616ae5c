import { create } from '@bufbuild/protobuf';
import {
  CreateModelRequestSchema,
  CreateModelResponseSchema,
} from '@landfall/proto/landfall/registry/v1/registry_service_pb.js';
import type { Route } from '../context.ts';
import { createModel as addModel } from '../domain/drafts.ts';
import { answerOnce, requestKey } from '../domain/idempotency.ts';
import { kindName, modelReply } from '../domain/replies.ts';
import { readLabels, readText } from '../domain/requests.ts';

export const createModel: Route<'createModel'> =
  ({ config, database }) =>
  async (request, { identity: { tenant } }) => {
    const key = requestKey(tenant, CreateModelRequestSchema, request);
    return answerOnce(database, key, CreateModelResponseSchema, async (em) => {
      const { name } = request;
      const description = readText('description', request.description);
      const labels = readLabels(request.labels);
      const model = await addModel(em, tenant, { name, kind: kindName(request.kind)!, description, labels });
      return create(CreateModelResponseSchema, { model: await modelReply(em, model, config.keepEmptyMs) });
    });
  };
