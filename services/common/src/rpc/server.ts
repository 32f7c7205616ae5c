import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { create, type DescMethod, type DescService, getOption, type Message } from '@bufbuild/protobuf';
import * as grpc from '@grpc/grpc-js';
import { Role, role as roleOption } from '@landfall/proto/landfall/mesh/v1/options_pb.js';
import { context as otel } from '@opentelemetry/api';
import type { TlsConfig } from '../config/service-config.ts';
import { LandfallError, permissionDenied, unauthenticated, unimplemented } from '../errors/errors.ts';
import { detailTrailers } from '../errors/status-details.ts';
import { type Identity, roleReaches } from '../identity/identity.ts';
import { IDENTITY_KEY, type IdentitySigner } from '../identity/signer.ts';
import type { Logger } from '../log/logger.ts';
import type { CallContext } from './call-context.ts';
import { CallScope, type ServerCall } from './call-scope.ts';
import { grpcDefinitions } from './definition.ts';
import { Health } from './health.ts';
import type { Implementation } from './implementation.ts';
import { addReflection } from './reflection.ts';
import { validate } from './validation.ts';

export interface RpcServerOptions {
  signer: IdentitySigner;
  logger: Logger;
  /** Mutual TLS; without it the server speaks plain HTTP/2. */
  tls?: TlsConfig | undefined;
  /** Largest message that is taken, in bytes (default 4 MiB). */
  maxReceiveBytes?: number;
  /** Deadline of a unary call that came with none, in milliseconds (default 60,000). */
  defaultDeadlineMs?: number;
}

type Requests = Message | AsyncIterable<Message>;
type AnyHandler = (request: Requests, context: CallContext) => unknown;

/** What the writing side of grpc-js's streams shares. */
interface ReplyStream extends NodeJS.EventEmitter {
  write(message: Message): boolean;
  end(): unknown;
}

interface Route {
  method: DescMethod;
  role: Role;
  handler: AnyHandler;
}

/**
 * A gRPC server with what every service owes: health (liveness '' and 'readiness'), reflection, verified identity,
 * the role that each method declares, validation by the contract's rules, deadlines, traces, metrics, error details,
 * and a drain that lets running calls end.
 */
export class RpcServer {
  readonly health = new Health();
  readonly #server: grpc.Server;
  readonly #options: RpcServerOptions;
  readonly #services: DescService[] = [];
  readonly #running = new Set<CallScope>();

  constructor(options: RpcServerOptions) {
    this.#options = options;
    this.#server = new grpc.Server({
      'grpc.max_receive_message_length': options.maxReceiveBytes ?? 4 * 1024 * 1024,
      'grpc.max_send_message_length': 64 * 1024 * 1024,
      'grpc.max_concurrent_streams': 1000,
      'grpc.keepalive_time_ms': 30_000,
      'grpc.keepalive_timeout_ms': 10_000,
    });
  }

  /** Adds a service; a method that is left out answers UNIMPLEMENTED. */
  add<S extends DescService>(service: S, implementation: Implementation<S>): this {
    const handlers: grpc.UntypedServiceImplementation = {};
    for (const method of service.methods) {
      const handler = (implementation as Record<string, AnyHandler | undefined>)[method.localName];
      const absent = () => {
        throw unimplemented(`${service.typeName}/${method.name} is not offered yet`);
      };
      handlers[method.name] = this.#entry({
        method,
        role: getOption(method, roleOption),
        handler: handler ?? absent,
      });
    }
    this.#server.addService(grpcDefinitions(service) as grpc.ServiceDefinition, handlers);
    this.#services.push(service);
    return this;
  }

  /** Listens and resolves with the port. */
  async listen(host: string, port: number): Promise<number> {
    this.health.addTo(this.#server);
    addReflection(this.#server, this.#services);
    const { tls } = this.#options;
    const credentials = tls
      ? grpc.ServerCredentials.createSsl(tls.ca, [{ cert_chain: tls.cert, private_key: tls.key }], true)
      : grpc.ServerCredentials.createInsecure();
    return new Promise((resolve, reject) => {
      this.#server.bindAsync(`${host}:${port}`, credentials, (error, bound) => {
        if (error) reject(new Error(`cannot listen on ${host}:${port}: ${error.message}`));
        else resolve(bound);
      });
    });
  }

  /** Not ready, no new calls; running ones end within the grace period or are cancelled. */
  async drain(graceMs: number): Promise<void> {
    this.health.set('readiness', false);
    const late = setTimeout(() => {
      const reason = new LandfallError(grpc.status.UNAVAILABLE, 'the server is stopping');
      for (const scope of this.#running) scope.abort.abort(reason);
      // A call that ignores its signal must not hold the process.
      setTimeout(() => this.#server.forceShutdown(), 500).unref();
    }, graceMs);
    // Health watches and reflection streams are held open by their callers for as long as they like.
    this.health.end();
    await new Promise<void>((resolve) => this.#server.tryShutdown(() => resolve()));
    clearTimeout(late);
  }

  #entry(route: Route): grpc.UntypedHandleCall {
    type Unary = grpc.ServerUnaryCall<Message, Message>;
    type Writer = grpc.ServerWritableStream<Message, Message>;
    type Done = grpc.sendUnaryData<Message>;
    switch (route.method.methodKind) {
      case 'unary':
        return (call: Unary, done: Done) => void this.#single(route, call, call.request, done);
      case 'client_streaming':
        return (call: grpc.ServerReadableStream<Message, Message>, done: Done) =>
          void this.#single(route, call, checked(route, call), done);
      case 'server_streaming':
        return (call: Writer) => void this.#stream(route, call, call.request);
      default:
        return (call: grpc.ServerDuplexStream<Message, Message>) =>
          void this.#stream(route, call, checked(route, call));
    }
  }

  #open(route: Route, call: ServerCall): CallScope {
    const unary = route.method.methodKind === 'unary';
    const deadlineMs = unary ? (this.#options.defaultDeadlineMs ?? 60_000) : Number.POSITIVE_INFINITY;
    const scope = new CallScope(route.method.parent.typeName, route.method.name, call, deadlineMs);
    this.#running.add(scope);
    return scope;
  }

  async #single(
    route: Route,
    call: ServerCall,
    request: Requests,
    done: grpc.sendUnaryData<Message>,
  ): Promise<void> {
    const scope = this.#open(route, call);
    try {
      const admitted = this.#admit(route, call, scope, request);
      const context = admitted instanceof Promise ? await admitted : admitted;
      const reply = await otel.with(context.trace, () => route.handler(request, context));
      this.#close(scope, grpc.status.OK);
      done(null, asMessage(route, reply));
    } catch (cause) {
      const error = this.#fail(route, scope, cause);
      done({ code: error.code, details: error.message, metadata: detailTrailers(error) });
    }
  }

  async #stream(route: Route, call: ServerCall & ReplyStream, request: Requests): Promise<void> {
    const scope = this.#open(route, call);
    const { signal } = scope.abort;
    try {
      const admitted = this.#admit(route, call, scope, request);
      const context = admitted instanceof Promise ? await admitted : admitted;
      const replies = otel.with(context.trace, () =>
        route.handler(request, context),
      ) as AsyncIterable<unknown>;
      for await (const reply of replies) {
        if (signal.aborted) break;
        // A full buffer waits for the reader: memory does not follow the handler's speed.
        if (!call.write(asMessage(route, reply))) await once(call, 'drain', { signal }).catch(() => {});
      }
      signal.throwIfAborted();
      this.#close(scope, grpc.status.OK);
      call.end();
    } catch (cause) {
      const error = this.#fail(route, scope, cause);
      call.emit('error', { code: error.code, details: error.message, metadata: detailTrailers(error) });
    }
  }

  /** Identity, role, rules, in this order; asynchronous only for a token not seen before. */
  #admit(
    route: Route,
    call: ServerCall,
    scope: CallScope,
    request: Requests,
  ): CallContext | Promise<CallContext> {
    const token = call.metadata.get(IDENTITY_KEY)[0];
    const enter = (identity: Identity): CallContext => {
      const { parent, name } = route.method;
      if (!roleReaches(identity.role, route.role)) {
        const needed = Role[route.role]?.toLowerCase();
        throw permissionDenied(`${parent.typeName}/${name} needs the role ${needed}`);
      }
      if ('$typeName' in request) validate(route.method.input, request);
      const { deadlineMs, trace, abort } = scope;
      return { identity, deadlineMs, trace, metadata: call.metadata, signal: abort.signal };
    };
    if (typeof token !== 'string') {
      if (route.role === Role.PUBLIC)
        return enter({ subject: 'anonymous', tenant: '', role: Role.UNSPECIFIED });
      throw unauthenticated(`the metadata key ${IDENTITY_KEY} is missing`);
    }
    const verified = this.#options.signer.verify(token);
    return verified instanceof Promise ? verified.then(enter) : enter(verified);
  }

  #close(scope: CallScope, code: grpc.status, error?: LandfallError): void {
    this.#running.delete(scope);
    scope.close(code, error);
  }

  /** The error that may leave; anything unknown is logged here and leaves as "internal error" with an id. */
  #fail(route: Route, scope: CallScope, cause: unknown): LandfallError {
    let error = cause instanceof LandfallError ? cause : undefined;
    // A handler that was told to stop fails in many ways; the reason it was told is the truth.
    if (!error && scope.abort.signal.aborted && scope.abort.signal.reason instanceof LandfallError) {
      error = scope.abort.signal.reason;
    }
    if (!error) {
      const errorId = randomUUID();
      const { parent, name } = route.method;
      otel.with(scope.trace, () =>
        this.#options.logger.error(
          { err: cause, error_id: errorId, rpc: `${parent.typeName}/${name}` },
          'call failed',
        ),
      );
      error = new LandfallError(grpc.status.INTERNAL, `internal error ${errorId}`, { reason: 'INTERNAL' });
    }
    this.#close(scope, error.code, error);
    return error;
  }
}

async function* checked(route: Route, call: AsyncIterable<Message>): AsyncGenerator<Message> {
  for await (const request of call) {
    validate(route.method.input, request);
    yield request;
  }
}

function asMessage(route: Route, reply: unknown): Message {
  const shape = reply as object;
  return '$typeName' in shape ? (shape as Message) : create(route.method.output, shape as never);
}
