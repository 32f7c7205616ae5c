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
import { trace } from '@opentelemetry/api';
import { v7 as uuidv7 } from 'uuid';
import type { PromptContext, Route } from '../context.ts';
import { addPart, answerParts, mergeSampling } from '../domain/answer.ts';
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
  const { database, config, logger } = context;
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
    const question = { deployment: request.deployment, messages: rendered, sampling };
    for await (const part of answerParts(context, question, call)) {
      addPart(entry, part);
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

function withoutTurns(entry: Invocation): Invocation {
  return create(InvocationSchema, { ...entry, rendered: [] });
}

function codeName(cause: unknown, signal: AbortSignal): string {
  if (cause instanceof LandfallError) return status[cause.code];
  if (signal.aborted && signal.reason instanceof LandfallError) return status[signal.reason.code];
  return 'INTERNAL';
}
