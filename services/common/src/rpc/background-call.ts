import { Metadata } from '@grpc/grpc-js';
import { ROOT_CONTEXT } from '@opentelemetry/api';
import type { Identity } from '../identity/identity.ts';
import type { CallContext } from './call-context.ts';

/** A call that nobody made: a service's own work in the name of a tenant, by the handlers that serve callers. */
export function backgroundCall(identity: Identity, signal: AbortSignal): CallContext {
  const metadata = new Metadata();
  return { identity, signal, deadlineMs: Number.POSITIVE_INFINITY, metadata, trace: ROOT_CONTEXT };
}
