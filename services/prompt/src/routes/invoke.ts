import { create } from '@bufbuild/protobuf';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import { status } from '@grpc/grpc-js';
import { LandfallError } from '@landfall/common/errors/errors.ts';
import type { CallContext } from '@landfall/common/rpc/call-context.ts';
import { type Invocation, InvocationSchema } from '@landfall/proto/landfall/prompt/v1/prompt_pb.js';
import {
  type InvokeRequest,
  type InvokeResponse,
  InvokeResponseSchema,
} from '@landfall/proto/landfall/prompt/v1/prompt_service_pb.js';
import { trace } from '@opentelemetry/api';
import { v7 as uuidv7 } from 'uuid';
import type { PromptContext, Route } from '../context.ts';
import { findAnswered, invocationDigest } from '../domain/answered.ts';
import { type Asking, converse } from '../domain/conversation.ts';
import { loadDraft } from '../domain/draft.ts';
import { findVersion } from '../domain/find.ts';
import { mergeSampling } from '../domain/merge-sampling.ts';
import { costOf } from '../domain/price.ts';
import { render } from '../domain/render.ts';

export const invoke: Route<'invoke'> = (context) => (request, call) => run(context, request, call);

async function* run(
  context: PromptContext,
  request: InvokeRequest,
  call: CallContext,
): AsyncGenerator<InvokeResponse> {
  const answered = await findAnswered(context, call.identity.tenant, request);
  if (answered) {
    const { id, version, output } = answered;
    yield create(InvokeResponseSchema, { invocationId: id, version, delta: output });
    // The answer may be on its way into the database only.
    await context.log.settled();
    yield create(InvokeResponseSchema, { invocation: withoutTurns(answered) });
    return;
  }
  using _place = context.log.admit();
  yield* ask(context, request, await prepare(context, request, call), call);
}

interface Prepared {
  entry: Invocation;
  asking: Asking;
}

/** Finds and renders the version. @throws LandfallError before anything is logged: no model has been asked */
async function prepare(
  { database, config }: PromptContext,
  request: InvokeRequest,
  call: CallContext,
): Promise<Prepared> {
  const { tenant, subject } = call.identity;
  const { version, label } = await database.read((em) =>
    findVersion(em, tenant, request.name, request.version),
  );
  const draft = loadDraft(version.content);
  const rendered = render(draft, request.variables ?? {}, config.maxRenderedLength);
  const sampling = mergeSampling(draft.sampling, request.sampling);
  const entry = create(InvocationSchema, {
    id: uuidv7(),
    name: request.name,
    version: version.version,
    label,
    deployment: request.deployment,
    rendered,
    sampling,
    createTime: timestampFromMs(Date.now()),
    traceId: trace.getSpanContext(call.trace)?.traceId ?? '',
    caller: subject,
  });
  const route = {
    deployments: [request.deployment, ...request.fallbackDeployments],
    afterFirstToken: request.fallBackAfterFirstToken,
  };
  return { entry, asking: { route, sampling, samples: request.samples || 1 } };
}

async function* ask(
  context: PromptContext,
  request: InvokeRequest,
  { entry, asking }: Prepared,
  call: CallContext,
): AsyncGenerator<InvokeResponse> {
  const write = () => {
    const cost = costOf(context.config.prices, entry.model, entry.usage);
    if (cost) entry.cost = cost;
    context.log.add({
      tenant: call.identity.tenant,
      requestId: request.requestId,
      requestDigest: invocationDigest(request),
      entry,
      createdMs: Date.now(),
    });
  };
  let written = false;
  try {
    yield create(InvokeResponseSchema, { invocationId: entry.id, version: entry.version });
    for await (const { delta, reset } of converse(context, asking, entry, call)) {
      yield create(InvokeResponseSchema, { delta, reset });
    }
    write();
    written = true;
    // Who sends the token again must find the answer, whatever dies meanwhile.
    if (request.requestId) await context.log.settled();
    yield create(InvokeResponseSchema, { invocation: withoutTurns(entry) });
  } catch (cause) {
    // One that is written has been answered well: its caller, who may not have seen the end, finds it by its token.
    if (!written) entry.error = codeName(cause, call.signal);
    throw cause;
  } finally {
    if (!written) {
      // The caller left in the middle, or the call failed: what was answered up to here is kept too.
      entry.error ||= 'CANCELLED';
      write();
    }
  }
}

function withoutTurns(entry: Invocation): Invocation {
  return create(InvocationSchema, { ...entry, rendered: [] });
}

function codeName(cause: unknown, signal: AbortSignal): string {
  if (cause instanceof LandfallError) return status[cause.code];
  if (signal.aborted && signal.reason instanceof LandfallError) return status[signal.reason.code];
  return 'INTERNAL';
}
