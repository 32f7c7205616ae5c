import { GetLineageRequest_Direction as Direction } from '@landfall/proto/landfall/registry/v1/registry_service_pb.js';
import type { Route } from '../context.ts';
import { findVersion } from '../domain/find.ts';
import { lineageGraph } from '../domain/lineage.ts';

export const getLineage: Route<'getLineage'> =
  ({ database }) =>
  ({ name, version, direction, maxDepth }, { identity: { tenant } }) =>
    database.read(async (em) =>
      lineageGraph(em, await findVersion(em, tenant, name, version), {
        back: direction !== Direction.FORWARD,
        forward: direction !== Direction.BACK,
        maxDepth: maxDepth || Number.POSITIVE_INFINITY,
      }),
    );
