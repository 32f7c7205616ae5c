import { setTimeout as delay } from 'node:timers/promises';
import { create, toBinary } from '@bufbuild/protobuf';
import { WatchEndpointsResponseSchema } from '@landfall/proto/landfall/balancer/v1/balancer_service_pb.js';
import type { Route } from '../context.ts';
import { findServed } from '../domain/served.ts';
import { draining } from '../errors.ts';

/** At most four lists a second, however often loads change. */
const INTERVAL_MS = 250;

let revision = 0n;

/** The whole list now, and again whenever it differs from the last one that was sent. */
export const watchEndpoints: Route<'watchEndpoints'> = (context) =>
  async function* (request, call) {
    const { fleet } = context;
    const served = await findServed(context, request, call);
    const signal = AbortSignal.any([call.signal, context.draining]);
    let last: string | undefined;
    while (!signal.aborted) {
      const changed = fleet.pulse.next(signal);
      const { model, base } = served();
      const endpoints = fleet.endpoints(call.identity.tenant, { model, base });
      const list = create(WatchEndpointsResponseSchema, { endpoints, model, base });
      const content = Buffer.from(toBinary(WatchEndpointsResponseSchema, list)).toString('latin1');
      if (content !== last) {
        last = content;
        list.revision = ++revision;
        yield list;
        await delay(INTERVAL_MS, undefined, { signal }).catch(() => {});
      }
      await changed;
    }
    call.signal.throwIfAborted();
    throw draining();
  };
