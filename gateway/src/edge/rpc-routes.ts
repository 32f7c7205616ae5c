import type { DescMethod, Message } from '@bufbuild/protobuf';
import { type ConnectRouter, createContextKey, type HandlerContext } from '@connectrpc/connect';
import { targetOf } from '@landfall/common/balancing/target.ts';
import { invalidArgument, unimplemented } from '@landfall/common/errors/errors.ts';
import type { Identity } from '@landfall/common/identity/identity.ts';
import type { CallContext } from '@landfall/common/rpc/call-context.ts';
import type { CallOptions, RpcChannel } from '@landfall/common/rpc/client.ts';
import { validate } from '@landfall/common/rpc/validation.ts';
import {
  type GetPromptRequest,
  PromptService,
} from '@landfall/proto/landfall/prompt/v1/prompt_service_pb.js';
import type { GenerateRequest } from '@landfall/proto/landfall/text/v1/text_inference_service_pb.js';
import type { GatewayContext } from '../context.ts';
import { ownRoutes } from '../routes/own-routes.ts';
import { outgoingError } from './connect-error.ts';
import type { Governed } from './governance.ts';
import { routeName } from './route-name.ts';
import { type Destination, publicMethods, publicServices } from './services.ts';
import { type EdgeSpan, startSpan } from './span.ts';

/** The call that was let in, put there before its body is read. */
export const GOVERNED = createContextKey<Governed | undefined>(undefined);

/** What the connection's client certificate says. */
export const CERTIFICATE = createContextKey<() => readonly string[]>(() => []);

type Reply = Promise<Message> | AsyncIterable<Message>;
type Options = CallOptions & { context: CallContext };
type Forward = (request: Message | AsyncIterable<Message>, options: Options, caller: Identity) => Reply;

/** Routes for every public method; each goes on to where its service lives. */
export function rpcRoutes(context: GatewayContext): (router: ConnectRouter) => void {
  const own = ownMethods(context);
  return (router) => {
    for (const [service, destination] of publicServices) {
      const methods = service.methods.filter((method) => publicMethods.has(routeName(method)));
      const handlers = methods.map((method) => {
        const forward = destination === 'gateway' ? own(method) : forwarder(context, destination, method);
        return [method.localName, handler(context, method, forward)] as const;
      });
      router.service(service, Object.fromEntries(handlers) as never);
    }
  };
}

function handler(context: GatewayContext, method: DescMethod, forward: Forward) {
  const name = routeName(method);
  const fail = (span: EdgeSpan, cause: unknown) => {
    span.fail(cause);
    return outgoingError(cause, (unknown) =>
      context.logger.error({ err: unknown, rpc: name }, 'call failed'),
    );
  };
  const open = (call: HandlerContext) => {
    const governed = call.values.get(GOVERNED)!;
    const { caller } = governed;
    for (const [name, value] of Object.entries(governed.headers)) call.responseHeader.set(name, value);
    governed.flow.tell = (headers) => {
      for (const [name, value] of Object.entries(headers)) call.responseHeader.set(name, value);
    };
    const span = startSpan(name, call.requestHeader, caller);
    call.responseHeader.set('x-request-id', span.traceId);
    const left = call.timeoutMs();
    const deadlineMs = left === undefined ? Number.POSITIVE_INFINITY : Date.now() + left;
    return {
      governed,
      span,
      options: {
        context: span.callContext(caller, call.signal, deadlineMs),
        ...(left === undefined ? {} : { timeoutMs: left }),
      },
    };
  };
  if (method.methodKind === 'unary' || method.methodKind === 'client_streaming') {
    return async (request: Message | AsyncIterable<Message>, call: HandlerContext) => {
      const { governed, span, options } = open(call);
      try {
        return await governed.unary(
          request,
          (passed) => forward(passed, options, governed.caller) as Promise<Message>,
        );
      } catch (cause) {
        throw fail(span, cause);
      } finally {
        span.end();
      }
    };
  }
  return async function* (request: Message | AsyncIterable<Message>, call: HandlerContext) {
    const { governed, span, options } = open(call);
    try {
      yield* governed.stream(
        request,
        (passed, shared) =>
          forward(
            passed,
            shared ? detached(options, shared) : options,
            governed.caller,
          ) as AsyncIterable<Message>,
      );
    } catch (cause) {
      throw fail(span, cause);
    } finally {
      span.end();
    }
  };
}

/** Options of work that goes on without the call that began it, until the signal fires. */
const detached = ({ context }: Options, signal: AbortSignal): Options => ({
  context: { ...context, signal, deadlineMs: Number.POSITIVE_INFINITY },
});

function forwarder(
  context: GatewayContext,
  destination: Exclude<Destination, 'gateway'>,
  method: DescMethod,
): Forward {
  if (destination === 'replicas') return toReplicas(context, method);
  const channel: RpcChannel | undefined = context.channels[destination];
  if (!channel) {
    return () => {
      throw unimplemented(`${method.parent.typeName} is not part of this mesh`);
    };
  }
  if (method === PromptService.method.getPrompt) return byLabel(context, channel);
  switch (method.methodKind) {
    case 'unary':
      return (request, options) => channel.unary(method, request as Message, options);
    case 'client_streaming':
      return (requests, options) => channel.clientStream(method, requests as AsyncIterable<Message>, options);
    case 'server_streaming':
      return (request, options) => channel.serverStream(method, request as Message, options);
    default:
      return (requests, options) => channel.bidiStream(method, requests as AsyncIterable<Message>, options);
  }
}

/** A prompt that is read by label stays readable while its service is away. */
function byLabel({ labels }: GatewayContext, channel: RpcChannel): Forward {
  return (request, options, identity) => {
    const { name, version } = request as GetPromptRequest;
    return version.startsWith('@')
      ? labels.get(name, version.slice(1), { ...options, identity })
      : channel.unary(PromptService.method.getPrompt, request as Message, options);
  };
}

/** Text calls reach a replica of the deployment or model that they name. */
function toReplicas({ replicas }: GatewayContext, method: DescMethod): Forward {
  const target = (request: Message) => {
    const { model, deployment } = request as Message & { model?: string; deployment?: string };
    const name = model || deployment;
    if (!name) {
      const field = model === undefined ? 'deployment' : 'model';
      throw invalidArgument(field, 'name a deployment; ListDeployments of the balancer lists them');
    }
    return targetOf(name);
  };
  if (method.name === 'Generate') {
    return (request, options) => {
      validate(method.input, request as Message);
      return replicas.generate(target(request as Message), request as GenerateRequest, options);
    };
  }
  if (method.methodKind === 'server_streaming') {
    return (request, options) =>
      replicas.serverStream(target(request as Message), method, request as Message, options);
  }
  return (request, options) =>
    replicas.unary(target(request as Message), method, request as Message, options);
}

/** Methods that the gateway answers itself. */
function ownMethods(context: GatewayContext): (method: DescMethod) => Forward {
  const routes = ownRoutes(context);
  return (method) => {
    const route = routes[method.parent.typeName]?.[method.localName];
    if (!route) throw new Error(`${routeName(method)} has no route`);
    return (request, options, caller) => {
      validate(method.input, request as Message);
      return route(request as never, caller, options.context!.signal);
    };
  };
}
