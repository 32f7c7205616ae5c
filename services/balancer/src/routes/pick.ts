import { lessLoadedOfTwo } from '@landfall/common/balancing/pick.ts';
import { EndpointState } from '@landfall/proto/landfall/balancer/v1/deployment_pb.js';
import type { Route } from '../context.ts';
import { PickCounts } from '../domain/pick-counts.ts';
import { askedName, findServed } from '../domain/served.ts';
import { noEndpoint } from '../errors.ts';

export const pick: Route<'pick'> = (context) => {
  const counts = new PickCounts();
  return async (request, call) => {
    const { model, base } = (await findServed(context, request, call))();
    const ready = context.fleet
      .endpoints(call.identity.tenant, { model, base })
      .filter(({ state, id, address }) => {
        return (
          state === EndpointState.READY && !request.exclude.includes(id) && !request.exclude.includes(address)
        );
      });
    const loaded = ready.filter(({ adapterLoaded }) => adapterLoaded);
    const endpoint = lessLoadedOfTwo(loaded.length > 0 ? loaded : ready, (each) => counts.cost(each));
    if (!endpoint) throw noEndpoint(askedName(request));
    counts.picked(endpoint);
    return { endpoint, model };
  };
};
