/** The service's routes over a backend: identity, admission and telemetry are as over our own engine. */

import { failedPrecondition, unimplemented } from '@landfall/common/errors/errors.ts';
import type { CallContext } from '@landfall/common/rpc/call-context.ts';
import type { Implementation } from '@landfall/common/rpc/implementation.ts';
import type {
  GenerateRequest,
  ScoreRequest,
  TextInferenceService,
} from '@landfall/proto/landfall/text/v1/text_inference_service_pb.js';
import type { TextContext } from '../context.ts';
import { toLandfallError } from '../errors.ts';
import type { GenerateReply } from '../generation.ts';
import { LoadNews } from '../load-news.ts';
import { enter } from '../routes/generate.ts';
import type { Backend } from './backend.ts';
import { BackendTelemetry } from './backend-telemetry.ts';
import { watchBackendLoad } from './watch-load.ts';

/** @param name who answers, for telemetry and errors */
export function backendRoutes(
  context: TextContext,
  backend: Backend,
  name: string,
): Implementation<typeof TextInferenceService> {
  const loadNow = () => ({ ...backend.load.message(), refused: BigInt(context.admission.refused) });
  return {
    generate: (request, call) => generate(context, backend, name, loadNow, request, call),
    score: (request, call) => score(context, backend, name, request, call),
    attend(_request, call) {
      context.checkTenant(call.identity);
      throw failedPrecondition(`${name} does not tell what it looks at`, { reason: 'BACKEND_CANNOT_ATTEND' });
    },
    async loadAdapter({ model, requestId }, call) {
      context.checkTenant(call.identity);
      const start = performance.now();
      try {
        const { ref, changed } = await backend.loadAdapter(model, call.signal);
        context.logger.info({ model: ref, changed, request_id: requestId }, 'adapter loaded');
        return { model: ref, loadMs: changed ? performance.now() - start : 0, alreadyLoaded: !changed };
      } catch (error) {
        throw toLandfallError(error);
      }
    },
    unloadAdapter({ model, requestId }, call) {
      context.checkTenant(call.identity);
      try {
        const unloaded = backend.unloadAdapter(model);
        context.logger.info({ model, unloaded, request_id: requestId }, 'adapter unloaded');
        return { unloaded };
      } catch (error) {
        throw toLandfallError(error);
      }
    },
    getLoad(_request, call) {
      context.checkTenant(call.identity);
      return { load: loadNow() };
    },
    watchLoad: (request, call) => watchBackendLoad(context, backend, loadNow, request, call),
  };
}

async function* generate(
  context: TextContext,
  backend: Backend,
  name: string,
  loadNow: () => GenerateReply['load'],
  request: GenerateRequest,
  call: CallContext,
): AsyncGenerator<GenerateReply> {
  context.checkTenant(call.identity);
  const leave = enter(context.admission, request.sampling?.n ?? 1);
  const ended = backend.load.begin();
  const telemetry = new BackendTelemetry(request, name, call.trace);
  const news = new LoadNews();
  let failure: unknown;
  try {
    for await (const reply of backend.generate(request, call)) {
      // Nothing is known of what a backend has cached.
      const part = news.next(backend.load.numbers, 0, reply.usage !== undefined);
      yield { ...telemetry.reply(reply), ...(part === 'nothing' ? {} : { load: loadNow() }) };
    }
  } catch (error) {
    if (!call.signal.aborted) failure = error;
    throw toLandfallError(error);
  } finally {
    telemetry.end(failure);
    ended();
    leave();
  }
}

async function score(
  context: TextContext,
  backend: Backend,
  name: string,
  request: ScoreRequest,
  call: CallContext,
): Promise<{ model: string; tokens: number; logProbability: number }> {
  context.checkTenant(call.identity);
  if (!backend.score)
    throw unimplemented(`${name} can not score a given completion`, { reason: 'BACKEND_CANNOT_SCORE' });
  const leave = context.admission.enter();
  const ended = backend.load.begin();
  try {
    return { model: backend.base, ...(await backend.score(request, call.signal)) };
  } catch (error) {
    throw toLandfallError(error);
  } finally {
    ended();
    leave();
  }
}
