import { once } from 'node:events';
import type { DescService, Message } from '@bufbuild/protobuf';
import * as grpc from '@grpc/grpc-js';
import { context as otel } from '@opentelemetry/api';
import type { TlsConfig } from '../config/service-config.ts';
import { LandfallError, unimplemented } from '../errors/errors.ts';
import { outgoingError } from '../errors/outgoing.ts';
import { detailTrailers, headerMessage } from '../errors/status-details.ts';
import type { IdentitySigner } from '../identity/signer.ts';
import type { Logger } from '../log/logger.ts';
import { admit } from './admission.ts';
import { lateRequests } from './arrival.ts';
import { CallScope, type ServerCall } from './call-scope.ts';
import { type Malformed, serverDefinitions } from './definition.ts';
import { Health } from './health.ts';
import type { Implementation } from './implementation.ts';
import { Reflection } from './reflection.ts';
import { checkedRequests } from './request-stream.ts';
import { type AnyHandler, makeRoute, type Requests, type Route, replyMessage } from './route.ts';

export interface RpcServerOptions {
  signer: IdentitySigner;
  logger: Logger;
  /** Mutual TLS; without it the server speaks plain HTTP/2. */
  tls?: TlsConfig | undefined;
  /** Largest message that is taken, in bytes, before and after decompression (default 4 MiB). */
  maxReceiveBytes?: number;
  /** Deadline of a unary call that came with none, in milliseconds (default 60,000). */
  defaultDeadlineMs?: number;
  /** The same for single methods of any kind, by their names in the contract (`Echo`). */
  methodDeadlinesMs?: Readonly<Record<string, number>>;
  /** Calls at once on one connection (default 1,000). */
  maxConcurrentStreams?: number;
  /** Longest wait for a request to arrive whole, and between two of a stream, in milliseconds (default 30,000). */
  arrivalMs?: number;
  /** A connection that is silent this long is asked whether it lives, in milliseconds (default 20,000). */
  keepaliveMs?: number;
}

/** What the writing side of grpc-js's streams shares. */
interface ReplyStream extends NodeJS.EventEmitter {
  write(message: Message): boolean;
  end(): unknown;
}

type Unary = grpc.ServerUnaryCall<Message | Malformed, Message>;
type Writer = grpc.ServerWritableStream<Message | Malformed, Message>;
type Reader = grpc.ServerReadableStream<Message | Malformed, Message>;
type Duplex = grpc.ServerDuplexStream<Message | Malformed, Message>;
type Done = grpc.sendUnaryData<Message>;

const MIB = 1024 * 1024;
/** What a handler gets to notice that it was stopped, before its connection or its process goes. */
const FORCE_AFTER_MS = 500;

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
  readonly #draining = new AbortController();
  #reflection: Reflection | undefined;
  #drained: Promise<void> | undefined;

  constructor(options: RpcServerOptions) {
    this.#options = options;
    this.#server = new grpc.Server({
      'grpc.max_receive_message_length': options.maxReceiveBytes ?? 4 * MIB,
      'grpc.max_send_message_length': 64 * MIB,
      'grpc.max_concurrent_streams': options.maxConcurrentStreams ?? 1000,
      'grpc.keepalive_time_ms': options.keepaliveMs ?? 20_000,
      'grpc.keepalive_timeout_ms': 5_000,
      // Nobody reads grpc-js's own registry of channels and calls.
      'grpc.enable_channelz': 0,
      interceptors: [lateRequests(options.arrivalMs ?? 30_000)],
    });
  }

  /** Fires when a drain begins: streams that have no end of their own (watches) should end then. */
  get draining(): AbortSignal {
    return this.#draining.signal;
  }

  /** Adds a service; a method that is left out answers UNIMPLEMENTED. */
  add<S extends DescService>(service: S, implementation: Implementation<S>): this {
    const handlers: grpc.UntypedServiceImplementation = {};
    const given = implementation as Record<string, AnyHandler | undefined>;
    for (const method of service.methods) {
      const absent = () => {
        throw unimplemented(`${service.typeName}/${method.name} is not offered yet`);
      };
      handlers[method.name] = this.#entry(makeRoute(method, given[method.localName] ?? absent));
    }
    this.#server.addService(serverDefinitions(service), handlers);
    this.#services.push(service);
    return this;
  }

  /** Listens and resolves with the port. */
  async listen(host: string, port: number): Promise<number> {
    this.health.addTo(this.#server);
    this.#reflection = new Reflection(this.#services);
    this.#reflection.addTo(this.#server);
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
  drain(graceMs: number): Promise<void> {
    this.#drained ??= this.#drain(graceMs);
    return this.#drained;
  }

  async #drain(graceMs: number): Promise<void> {
    const reason = new LandfallError(grpc.status.UNAVAILABLE, 'the server is stopping', {
      reason: 'STOPPING',
    });
    this.health.set('readiness', false);
    this.#draining.abort(reason);
    // Health watches and reflection streams are held open by their callers for as long as they like.
    this.health.end();
    this.#reflection?.end();
    let force: NodeJS.Timeout | undefined;
    const late = setTimeout(() => {
      for (const scope of this.#running) scope.stop(reason);
      // A call that ignores its signal must not hold the process.
      force = setTimeout(() => this.#server.forceShutdown(), FORCE_AFTER_MS);
    }, graceMs);
    await new Promise<void>((resolve) => this.#server.tryShutdown(() => resolve()));
    clearTimeout(late);
    clearTimeout(force);
    // Callers that went away leave handlers behind: what comes after the drain may be what those still use.
    const lastMs = Date.now() + FORCE_AFTER_MS;
    for (const scope of this.#running) scope.stop(reason);
    while (this.#running.size > 0 && Date.now() < lastMs) {
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  }

  #entry(route: Route): grpc.UntypedHandleCall {
    const arrivalMs = this.#options.arrivalMs ?? 30_000;
    switch (route.method.methodKind) {
      case 'unary':
        return (call: Unary, done: Done) => void this.#single(route, call, () => call.request, done);
      case 'client_streaming':
        return (call: Reader, done: Done) =>
          void this.#single(route, call, (scope) => checkedRequests(scope, call, arrivalMs), done);
      case 'server_streaming':
        return (call: Writer) => void this.#stream(route, call, () => call.request);
      default:
        return (call: Duplex) =>
          void this.#stream(route, call, (scope) => checkedRequests(scope, call, arrivalMs));
    }
  }

  #open(route: Route, call: ServerCall): CallScope {
    const { defaultDeadlineMs = 60_000, methodDeadlinesMs } = this.#options;
    const deadlineMs =
      methodDeadlinesMs?.[route.method.name] ??
      (route.method.methodKind === 'unary' ? defaultDeadlineMs : Number.POSITIVE_INFINITY);
    const scope = new CallScope(route, call, deadlineMs);
    this.#running.add(scope);
    return scope;
  }

  async #single(
    route: Route,
    call: ServerCall,
    requests: (scope: CallScope) => Requests | Malformed,
    done: Done,
  ): Promise<void> {
    const scope = this.#open(route, call);
    const refuse = (error: LandfallError) =>
      done({ code: error.code, details: headerMessage(error.message), metadata: detailTrailers(error) });
    scope.onStop = refuse;
    try {
      const admitted = admit(this.#options.signer, scope, requests(scope));
      const request = admitted instanceof Promise ? await admitted : admitted;
      const reply = replyMessage(
        route,
        await otel.with(scope.trace, route.handler, undefined, request, scope),
      );
      if (scope.stopped) throw scope.stopped;
      this.#close(scope, grpc.status.OK);
      done(null, reply);
    } catch (cause) {
      const told = scope.stopped;
      const error = this.#fail(scope, cause);
      // A caller that was told why the call was stopped is not told again.
      if (!told) refuse(error);
    }
  }

  async #stream(
    route: Route,
    call: ServerCall & ReplyStream,
    requests: (scope: CallScope) => Requests | Malformed,
  ): Promise<void> {
    const scope = this.#open(route, call);
    const { signal } = scope;
    let replies: AsyncIterator<unknown> | undefined;
    const refuse = (error: LandfallError) => {
      call.emit('error', {
        code: error.code,
        details: headerMessage(error.message),
        metadata: detailTrailers(error),
      });
    };
    scope.onStop = (reason) => {
      refuse(reason);
      // An iterator that waits for more than the signal (a queue, a subscription) is told to stop, too.
      replies?.return?.()?.catch(() => {});
    };
    try {
      const admitted = admit(this.#options.signer, scope, requests(scope));
      const request = admitted instanceof Promise ? await admitted : admitted;
      const handled = otel.with(scope.trace, route.handler, undefined, request, scope);
      const iterator = (handled as AsyncIterable<unknown>)[Symbol.asyncIterator]();
      replies = iterator;
      for await (const reply of { [Symbol.asyncIterator]: () => iterator }) {
        if (signal.aborted) break;
        // A full buffer waits for the reader: memory does not follow the handler's speed.
        if (!call.write(replyMessage(route, reply))) await once(call, 'drain', { signal }).catch(() => {});
      }
      if (scope.stopped) throw scope.stopped;
      this.#close(scope, grpc.status.OK);
      call.end();
    } catch (cause) {
      const told = scope.stopped;
      const error = this.#fail(scope, cause);
      if (!told) refuse(error);
    }
  }

  #close(scope: CallScope, code: grpc.status): void {
    this.#running.delete(scope);
    scope.close(code);
  }

  /** Closes the call with the error that may leave. */
  #fail(scope: CallScope, cause: unknown): LandfallError {
    // A handler that was told to stop fails in many ways; the reason it was told is the truth.
    const error =
      scope.stopped ??
      otel.with(scope.trace, () => outgoingError(cause, this.#options.logger, scope.route.name));
    this.#close(scope, error.code);
    return error;
  }
}
