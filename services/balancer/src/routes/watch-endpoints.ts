import { setTimeout as delay } from 'node:timers/promises';
import { create, toBinary } from '@bufbuild/protobuf';
import {
  type WatchEndpointsResponse,
  WatchEndpointsResponseSchema,
} from '@landfall/proto/landfall/balancer/v1/balancer_service_pb.js';
import type { Route } from '../context.ts';
import type { Fleet } from '../control/fleet.ts';
import { findServed, type ServedView } from '../domain/served.ts';
import { draining } from '../errors.ts';

/** At most four lists a second, however often loads change. */
const INTERVAL_MS = 250;

let revision = 0n;

/** The whole list now, and again whenever it differs from the last one that was sent. */
export const watchEndpoints: Route<'watchEndpoints'> = (context) =>
  async function* (request, call) {
    const { fleet } = context;
    const { tenant } = call.identity;
    const view = await findServed(context, request, call);
    const signal = AbortSignal.any([call.signal, context.draining]);
    const release = fleet.watched(view().rows);
    let last: string | undefined;
    try {
      while (!signal.aborted) {
        const changed = fleet.pulse.next(signal);
        const list = listOf(fleet, tenant, view());
        const content = Buffer.from(toBinary(WatchEndpointsResponseSchema, list)).toString('latin1');
        if (content !== last) {
          last = content;
          list.revision = ++revision;
          yield list;
          await delay(INTERVAL_MS, undefined, { signal }).catch(() => {});
        }
        await changed;
      }
    } finally {
      release();
    }
    call.signal.throwIfAborted();
    throw draining();
  };

function listOf(
  fleet: Fleet,
  tenant: string,
  { served, share, overflow }: ServedView,
): WatchEndpointsResponse {
  const { model, base } = served;
  return create(WatchEndpointsResponseSchema, {
    endpoints: fleet.endpoints(tenant, served),
    model,
    base,
    ...(share
      ? {
          canary: {
            model: share.model,
            weightPercent: share.weightPercent,
            endpoints: fleet.endpoints(tenant, share),
          },
        }
      : {}),
    // PRIVATE_FIRST is the only policy: what carries personal data never leaves.
    ...(overflow
      ? {
          overflow: {
            model: overflow.model,
            endpoints: fleet.endpoints(tenant, overflow),
            allowPersonalData: false,
          },
        }
      : {}),
  });
}
