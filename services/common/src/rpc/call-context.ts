import type { Metadata } from '@grpc/grpc-js';
import type { Context } from '@opentelemetry/api';
import type { Identity } from '../identity/identity.ts';

/** What a handler knows about its call. Pass it on to every outbound call: identity, deadline, trace and cancel follow. */
export interface CallContext {
  readonly identity: Identity;
  /** Fires when the caller cancels or goes away, and at the deadline. */
  readonly signal: AbortSignal;
  /** Milliseconds since 1970, or Infinity. */
  readonly deadlineMs: number;
  readonly metadata: Metadata;
  /** OpenTelemetry context with the call's span. */
  readonly trace: Context;
}
