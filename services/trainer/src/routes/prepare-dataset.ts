import { Kind } from '@landfall/proto/landfall/registry/v1/model_pb.js';
import type { Route } from '../context.ts';
import { prepare } from '../domain/prepare.ts';

export const prepareDataset: Route<'prepareDataset'> = (service) => async (request, context) => {
  const raw = await service.registry.ready(request.dataset, Kind.DATASET, 'dataset', { context });
  return prepare(service, raw, request, context);
};
