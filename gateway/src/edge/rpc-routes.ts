import type { DescMethod, Message } from '@bufbuild/protobuf';
import { type ConnectRouter, createContextKey, type HandlerContext } from '@connectrpc/connect';
import { targetOf } from '@landfall/common/balancing/target.ts';
import { invalidArgument, unimplemented } from '@landfall/common/errors/errors.ts';
import type { Identity } from '@landfall/common/identity/identity.ts';
import type { CallOptions, RpcChannel } from '@landfall/common/rpc/client.ts';
import { validate } from '@landfall/common/rpc/validation.ts';
import type { GenerateRequest } from '@landfall/proto/landfall/text/v1/text_inference_service_pb.js';
import type { GatewayContext } from '../context.ts';
import { createKey } from '../routes/create-key.ts';
import { listKeys } from '../routes/list-keys.ts';
import { revokeKey } from '../routes/revoke-key.ts';
import { searchAudit } from '../routes/search-audit.ts';
import { setPolicy } from '../routes/set-policy.ts';
import { whyAllowed } from '../routes/why-allowed.ts';
import { outgoingError } from './connect-error.ts';
import { type Destination, publicMethods, publicServices } from './services.ts';
import { type EdgeSpan, startSpan } from './span.ts';

/** Who was let in, put there before the body is read. */
export const CALLER = createContextKey<Identity | undefined>(undefined);

type Reply = Promise<Message> | AsyncIterable<Message>;
type Forward = (request: Message | AsyncIterable<Message>, options: CallOptions, caller: Identity) => Reply;

/** Routes for every public method; each goes on to where its service lives. */
export function rpcRoutes(context: GatewayContext): (router: ConnectRouter) => void {
  const admin = adminMethods(context);
  return (router) => {
    for (const [service, destination] of publicServices) {
      const methods = service.methods.filter((method) =>
        publicMethods.has(`${service.typeName}/${method.name}`),
      );
      const handlers = methods.map((method) => {
        const forward = destination === 'admin' ? admin(method) : forwarder(context, destination, method);
        return [method.localName, handler(context, method, forward)] as const;
      });
      router.service(service, Object.fromEntries(handlers) as never);
    }
  };
}

function handler(context: GatewayContext, method: DescMethod, forward: Forward) {
  const name = `${method.parent.typeName}/${method.name}`;
  const fail = (span: EdgeSpan, cause: unknown) => {
    span.fail(cause);
    return outgoingError(cause, (unknown) =>
      context.logger.error({ err: unknown, rpc: name }, 'call failed'),
    );
  };
  const open = (call: HandlerContext) => {
    const caller = call.values.get(CALLER)!;
    const span = startSpan(name, call.requestHeader, caller);
    const left = call.timeoutMs();
    const deadlineMs = left === undefined ? Number.POSITIVE_INFINITY : Date.now() + left;
    return {
      caller,
      span,
      options: {
        context: span.callContext(caller, call.signal, deadlineMs),
        ...(left === undefined ? {} : { timeoutMs: left }),
      },
    };
  };
  if (method.methodKind === 'unary' || method.methodKind === 'client_streaming') {
    return async (request: Message | AsyncIterable<Message>, call: HandlerContext) => {
      const { caller, span, options } = open(call);
      try {
        return await forward(request, options, caller);
      } catch (cause) {
        throw fail(span, cause);
      } finally {
        span.end();
      }
    };
  }
  return async function* (request: Message, call: HandlerContext) {
    const { caller, span, options } = open(call);
    try {
      yield* forward(request, options, caller) as AsyncIterable<Message>;
    } catch (cause) {
      throw fail(span, cause);
    } finally {
      span.end();
    }
  };
}

function forwarder(
  context: GatewayContext,
  destination: Exclude<Destination, 'admin'>,
  method: DescMethod,
): Forward {
  if (destination === 'replicas') return toReplicas(context, method);
  const channel: RpcChannel | undefined = context.channels[destination];
  if (!channel) {
    return () => {
      throw unimplemented(`${method.parent.typeName} is not part of this mesh`);
    };
  }
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

function adminMethods(context: GatewayContext): (method: DescMethod) => Forward {
  const routes: Record<string, (request: never, caller: Identity) => Promise<Message>> = {
    createKey: createKey(context),
    revokeKey: revokeKey(context),
    listKeys: listKeys(context),
    setPolicy: setPolicy(context),
    whyAllowed: whyAllowed(context),
    searchAudit: searchAudit(context),
  };
  return (method) => async (request, _options, caller) => {
    validate(method.input, request as Message);
    return routes[method.localName]!(request as never, caller);
  };
}
