import { EndpointState } from '@landfall/proto/landfall/balancer/v1/deployment_pb.js';
import type { Route } from '../context.ts';
import { PickCounts } from '../domain/pick-counts.ts';
import { askedName, findServed } from '../domain/served.ts';
import { noEndpoint } from '../errors.ts';

export const pick: Route<'pick'> = (context) => {
  const { fleet } = context;
  const counts = new PickCounts();
  return async (request, call) => {
    const { served, share, rows } = (await findServed(context, request, call))();
    fleet.asked(rows);
    const { exclude, prefixKeys } = request;
    // A canary, or the new model of a rollout, gets its share of the picks too.
    const shared = share && Math.random() * 100 < share.weightPercent ? [share, served] : [served];
    for (const target of shared) {
      const ready = fleet.endpoints(call.identity.tenant, target).filter(({ state, id, address }) => {
        return state === EndpointState.READY && !exclude.includes(id) && !exclude.includes(address);
      });
      const endpoint = counts.choose(ready, prefixKeys);
      if (endpoint) return { endpoint, model: target.model };
    }
    throw noEndpoint(askedName(request));
  };
};
