import { create } from '@bufbuild/protobuf';
import { status } from '@grpc/grpc-js';
import { LandfallError } from '@landfall/common/errors/errors.ts';
import type { CallContext } from '@landfall/common/rpc/call-context.ts';
import { type Invocation, InvocationSchema } from '@landfall/proto/landfall/prompt/v1/prompt_pb.js';
import {
  type InvokeRequest,
  type InvokeResponse,
  InvokeResponseSchema,
} from '@landfall/proto/landfall/prompt/v1/prompt_service_pb.js';
import {
  type SamplingOptions,
  SamplingOptionsSchema,
} from '@landfall/proto/landfall/text/v1/generation_pb.js';
import { trace } from '@opentelemetry/api';
import { v7 as uuidv7 } from 'uuid';
import type { PromptContext, Route } from '../context.ts';
import { loadDraft } from '../domain/draft.ts';
import { findVersion } from '../domain/find.ts';
import { findAnswered, writeLog } from '../domain/invocation-log.ts';
import { render } from '../domain/render.ts';

export const invoke: Route<'invoke'> = (context) => (request, call) => run(context, request, call);

async function* run(
  context: PromptContext,
  request: InvokeRequest,
  call: CallContext,
): AsyncGenerator<InvokeResponse> {
  const { database, config, replicas, logger } = context;
  const { tenant, subject } = call.identity;
  const answered = await findAnswered(database, tenant, request);
  if (answered) {
    yield create(InvokeResponseSchema, {
      invocationId: answered.id,
      version: answered.version,
      delta: answered.output,
    });
    yield create(InvokeResponseSchema, { invocation: withoutTurns(answered) });
    return;
  }
  const { version, label } = await database.read((em) =>
    findVersion(em, tenant, request.name, request.version),
  );
  const draft = loadDraft(version.content);
  const rendered = render(draft, request.variables ?? {}, config.maxRenderedLength);
  const entry = create(InvocationSchema, {
    id: uuidv7(),
    name: request.name,
    version: version.version,
    label,
    deployment: request.deployment,
    rendered,
    traceId: trace.getSpanContext(call.trace)?.traceId ?? '',
    caller: subject,
  });
  yield create(InvokeResponseSchema, { invocationId: entry.id, version: entry.version });
  const sampling = mergeSampling(draft.sampling, request.sampling);
  let logged = false;
  try {
    const answer = replicas.generate(
      { deployment: request.deployment },
      { messages: rendered, sampling },
      { context: call },
    );
    for await (const part of answer) {
      entry.output += part.delta;
      if (part.model) entry.model = part.model;
      if (part.usage) entry.usage = part.usage;
      if (part.finishReason) entry.finishReason = part.finishReason;
      if (part.delta) yield create(InvokeResponseSchema, { delta: part.delta });
    }
    // Before the last message: who has seen the end of an answer finds it in the log.
    await writeLog(database, tenant, request, entry);
    logged = true;
    yield create(InvokeResponseSchema, { invocation: withoutTurns(entry) });
  } catch (cause) {
    entry.error = codeName(cause, call.signal);
    throw cause;
  } finally {
    if (!logged) {
      // The caller left in the middle, or the call failed: what was answered up to here is kept too.
      entry.error ||= 'CANCELLED';
      await writeLog(database, tenant, request, entry).catch((error: Error) =>
        logger.error({ err: error, invocation: entry.id }, 'an invocation could not be logged'),
      );
    }
  }
}

/** The version's sampling with what the call sets in place of it, field by field. */
function mergeSampling(base: SamplingOptions | undefined, own: SamplingOptions | undefined): SamplingOptions {
  const merged = create(SamplingOptionsSchema, base);
  for (const [key, value] of Object.entries(own ?? {})) {
    const empty = value === undefined || (Array.isArray(value) && value.length === 0) || value === false;
    if (!key.startsWith('$') && !empty) Object.assign(merged, { [key]: value });
  }
  return merged;
}

function withoutTurns(entry: Invocation): Invocation {
  return create(InvocationSchema, { ...entry, rendered: [] });
}

function codeName(cause: unknown, signal: AbortSignal): string {
  if (cause instanceof LandfallError) return status[cause.code];
  if (signal.aborted && signal.reason instanceof LandfallError) return status[signal.reason.code];
  return 'INTERNAL';
}
