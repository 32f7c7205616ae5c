import { create } from '@bufbuild/protobuf';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import { status } from '@grpc/grpc-js';
import { LandfallError } from '@landfall/common/errors/errors.ts';
import type { CallContext } from '@landfall/common/rpc/call-context.ts';
import {
  type Invocation,
  InvocationSchema,
  type LogContent,
} from '@landfall/proto/landfall/prompt/v1/prompt_pb.js';
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
import { chooseVersion } from '../domain/experiment-split.ts';
import { loadContents } from '../domain/load-parts.ts';
import { logPolicyOf } from '../domain/log-policies.ts';
import { mergeSampling } from '../domain/merge-sampling.ts';
import { costOf } from '../domain/price.ts';
import { render } from '../domain/render.ts';
import { requireRight } from '../domain/rights.ts';

export const invoke: Route<'invoke'> = (context) => (request, call) => run(context, request, call);

async function* run(
  context: PromptContext,
  request: InvokeRequest,
  call: CallContext,
): AsyncGenerator<InvokeResponse> {
  const answered = await findAnswered(context, call.identity.tenant, request);
  if (answered) {
    await context.database.read((em) => requireRight(em, call.identity, request.name, 'invoker'));
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
  /** For experiments, see `subjectKey`. */
  subjectKey: string;
  /** What the log keeps; undefined is all. */
  content: LogContent | undefined;
}

/** Finds and renders the version. @throws LandfallError before anything is logged: no model has been asked */
async function prepare(
  { database, config }: PromptContext,
  request: InvokeRequest,
  call: CallContext,
): Promise<Prepared> {
  const { tenant, subject } = call.identity;
  const policy = await database.read(async (em) =>
    logPolicyOf(em, await requireRight(em, call.identity, request.name, 'invoker')),
  );
  const chosen = await chooseVersion(database, tenant, { ...request, subject: request.subject || subject });
  const { version, label, experiment, subjectKey } = chosen;
  const { draft, parts } = await database.read((em) => loadContents(em, version));
  const rendered = render(draft, request.variables ?? {}, config.maxRenderedLength, parts);
  const sampling = mergeSampling(draft.sampling, request.sampling);
  const entry = create(InvocationSchema, {
    id: uuidv7(),
    name: request.name,
    version: version.version,
    label,
    deployment: request.deployment,
    rendered,
    variables: request.variables ?? {},
    sampling,
    createTime: timestampFromMs(Date.now()),
    traceId: trace.getSpanContext(call.trace)?.traceId ?? '',
    caller: subject,
    experiment,
  });
  const route = {
    deployments: [request.deployment, ...request.fallbackDeployments],
    afterFirstToken: request.fallBackAfterFirstToken,
  };
  const samples = request.samples || draft.selfConsistency?.samples || 1;
  return {
    entry,
    asking: { route, sampling, samples, contract: draft.outputContract },
    subjectKey,
    content: policy?.content,
  };
}

async function* ask(
  context: PromptContext,
  request: InvokeRequest,
  { entry, asking, subjectKey, content }: Prepared,
  call: CallContext,
): AsyncGenerator<InvokeResponse> {
  const begunMs = performance.now();
  const write = () => {
    entry.durationMs = performance.now() - begunMs;
    const cost = costOf(context.config.prices, entry.model, entry.usage);
    if (cost) entry.cost = cost;
    context.log.add({
      tenant: call.identity.tenant,
      requestId: request.requestId,
      requestDigest: invocationDigest(request),
      entry,
      createdMs: Date.now(),
      subjectKey,
      ...(content === undefined ? {} : { content }),
    });
  };
  let written = false;
  try {
    yield create(InvokeResponseSchema, { invocationId: entry.id, version: entry.version });
    for await (const { delta, reset } of converse(context, asking, entry, call)) {
      if (reset || entry.firstTextMs === 0) entry.firstTextMs = performance.now() - begunMs;
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
