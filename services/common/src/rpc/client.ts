import {
  create,
  type DescMethod,
  type DescService,
  type Message,
  type MessageInitShape,
  type MessageShape,
} from '@bufbuild/protobuf';
import { MethodOptions_IdempotencyLevel as Idempotency } from '@bufbuild/protobuf/wkt';
import * as grpc from '@grpc/grpc-js';
import { context as otel, propagation } from '@opentelemetry/api';
import type { TlsConfig } from '../config/service-config.ts';
import { cancelled, LandfallError } from '../errors/errors.ts';
import { errorFromStatus } from '../errors/status-details.ts';
import type { Identity } from '../identity/identity.ts';
import { IDENTITY_KEY, type IdentitySigner } from '../identity/signer.ts';
import type { CallContext } from './call-context.ts';
import { channelCredentials } from './credentials.ts';
import { grpcDefinition } from './definition.ts';
import { pump } from './pump.ts';
import { RetryBudget } from './retry-budget.ts';

export interface RpcClientOptions {
  signer: IdentitySigner;
  tls?: TlsConfig | undefined;
  /** Who calls where a call names nobody: the service itself. */
  identity?: Identity;
  /** Compresses requests; worth it for text over a network, not on one machine. grpc-js answers uncompressed. */
  compression?: 'gzip';
}

export interface CallOptions {
  /** The call that this one is made for: its identity, deadline, trace and cancellation are passed on. */
  context?: CallContext;
  /** Who calls, where it is not the context's caller. */
  identity?: Identity;
  signal?: AbortSignal;
  /** Milliseconds; never beyond the context's deadline. Unary calls get 30,000 without. */
  timeoutMs?: number;
  /** More metadata, by lower-case keys. */
  metadata?: Readonly<Record<string, string>>;
  /** Most attempts of a call that may be repeated (default 3); 1 for callers who take another server instead. */
  attempts?: number;
}

type Init<M extends DescMethod> = MessageInitShape<M['input']>;
type Shape<M extends DescMethod> = MessageShape<M['output']>;
type CallFunction<M> = M extends DescMethod
  ? M extends { methodKind: 'unary' }
    ? (request: Init<M>, options?: CallOptions) => Promise<Shape<M>>
    : M extends { methodKind: 'server_streaming' }
      ? (request: Init<M>, options?: CallOptions) => AsyncIterable<Shape<M>>
      : M extends { methodKind: 'client_streaming' }
        ? (requests: AsyncIterable<Init<M>>, options?: CallOptions) => Promise<Shape<M>>
        : (requests: AsyncIterable<Init<M>>, options?: CallOptions) => AsyncIterable<Shape<M>>
  : never;

/** Typed promises and async iterables for every method of a service. */
export type RpcClient<S extends DescService> = { [K in keyof S['method']]: CallFunction<S['method'][K]> };

const setter = { set: (metadata: grpc.Metadata, key: string, value: string) => metadata.set(key, value) };
const DEFAULT_TIMEOUT_MS = 30_000;
const MAX_ATTEMPTS = 3;
const GZIP = 2;

interface ReadableCall {
  cancel(): void;
  on(event: 'error', listener: () => void): unknown;
  iterator(options: { destroyOnReturn: boolean }): AsyncIterable<Message>;
}

/** What one attempt is made with. */
interface Outbound {
  metadata: grpc.Metadata;
  deadline: number;
  signals: readonly AbortSignal[];
}

/** A connection to one server; clients of several services may share it. */
export class RpcChannel {
  readonly address: string;
  readonly #client: grpc.Client;
  readonly #options: RpcClientOptions;
  readonly #budget = new RetryBudget(0.2);

  constructor(address: string, options: RpcClientOptions) {
    this.address = address;
    this.#options = options;
    this.#client = new grpc.Client(address, channelCredentials(options.tls), {
      'grpc.max_receive_message_length': 64 * 1024 * 1024,
      'grpc.initial_reconnect_backoff_ms': 100,
      'grpc.max_reconnect_backoff_ms': 2000,
      'grpc.keepalive_time_ms': 30_000,
      ...(options.compression ? { 'grpc.default_compression_algorithm': GZIP } : {}),
      // Retries are ours: by the contract's idempotency level and within a budget.
      'grpc.enable_retries': 0,
      'grpc.service_config_disable_resolution': 1,
      // Nobody reads grpc-js's own registry of channels and calls.
      'grpc.enable_channelz': 0,
    });
  }

  /** A typed client of a service behind this connection. */
  client<S extends DescService>(service: S): RpcClient<S> {
    const entries = service.methods.map((method) => [method.localName, this.#caller(method)]);
    return Object.fromEntries(entries) as RpcClient<S>;
  }

  /** Ends the connection; running calls fail with CANCELLED or UNAVAILABLE. */
  close(): void {
    this.#client.close();
  }

  /** A call by its descriptor, for those who forward without knowing the service. */
  async unary(method: DescMethod, request: Message, options: CallOptions = {}): Promise<Message> {
    const safe =
      method.idempotency === Idempotency.NO_SIDE_EFFECTS || method.idempotency === Idempotency.IDEMPOTENT;
    const attempts = safe ? (options.attempts ?? MAX_ATTEMPTS) : 1;
    const signals = signalsOf(options);
    const deadline = deadlineOf(options, DEFAULT_TIMEOUT_MS);
    this.#budget.request();
    for (let attempt = 1; ; attempt++) {
      try {
        // A token that is known already costs no turn of the event loop.
        const made = this.#metadata(options);
        const metadata = made instanceof Promise ? await made : made;
        return await this.#unaryOnce(method, request, { metadata, deadline, signals });
      } catch (error) {
        const pauseMs = 50 * 2 ** attempt * (0.5 + Math.random() / 2);
        const again =
          attempt < attempts &&
          mayPass(error) &&
          Date.now() + pauseMs < deadline &&
          !signals.some((signal) => signal.aborted) &&
          this.#budget.takeRetry();
        if (!again) throw error;
        await pause(pauseMs, signals);
        if (signals.some((signal) => signal.aborted)) throw error;
      }
    }
  }

  /** Leaving the loop cancels the call. Without timeoutMs or a context it has no deadline. */
  serverStream(method: DescMethod, request: Message, options: CallOptions = {}): AsyncIterable<Message> {
    return this.#reading(method, options, (definition, metadata, deadline) =>
      this.#client.makeServerStreamRequest(
        definition.path,
        definition.requestSerialize,
        definition.responseDeserialize,
        request,
        metadata,
        { deadline },
      ),
    );
  }

  /** Without timeoutMs or a context it has no deadline: how long it takes is up to the requests. */
  async clientStream(
    method: DescMethod,
    requests: AsyncIterable<Message>,
    options: CallOptions = {},
  ): Promise<Message> {
    const definition = grpcDefinition(method);
    const metadata = await this.#metadata(options);
    const deadline = deadlineOf(options, Number.POSITIVE_INFINITY);
    return this.#answered({ metadata, deadline, signals: signalsOf(options) }, (done, fail) => {
      const call = this.#client.makeClientStreamRequest(
        definition.path,
        definition.requestSerialize,
        definition.responseDeserialize,
        metadata,
        { deadline },
        done,
      );
      return pump(requests, call, deadline, fail);
    });
  }

  /** As serverStream; requests are read as fast as the server takes them. */
  bidiStream(
    method: DescMethod,
    requests: AsyncIterable<Message>,
    options: CallOptions = {},
  ): AsyncIterable<Message> {
    return this.#reading(method, options, (definition, metadata, deadline, fail) => {
      const call = this.#client.makeBidiStreamRequest(
        definition.path,
        definition.requestSerialize,
        definition.responseDeserialize,
        metadata,
        { deadline },
      );
      return Object.assign(call, pump(requests, call, deadline, fail));
    });
  }

  #caller(method: DescMethod) {
    const init = (value: object) =>
      '$typeName' in value ? (value as Message) : create(method.input, value as never);
    async function* inits(values: AsyncIterable<object>) {
      for await (const value of values) yield init(value);
    }
    switch (method.methodKind) {
      case 'unary':
        return (request: object, options?: CallOptions) => this.unary(method, init(request), options);
      case 'server_streaming':
        return (request: object, options?: CallOptions) => this.serverStream(method, init(request), options);
      case 'client_streaming':
        return (requests: AsyncIterable<object>, options?: CallOptions) =>
          this.clientStream(method, inits(requests), options);
      default:
        return (requests: AsyncIterable<object>, options?: CallOptions) =>
          this.bidiStream(method, inits(requests), options);
    }
  }

  #metadata(options: CallOptions): grpc.Metadata | Promise<grpc.Metadata> {
    const metadata = new grpc.Metadata();
    if (options.metadata)
      for (const [key, value] of Object.entries(options.metadata)) metadata.set(key, value);
    propagation.inject(options.context?.trace ?? otel.active(), metadata, setter);
    const identity = options.identity ?? options.context?.identity ?? this.#options.identity;
    if (!identity) return metadata;
    const token = this.#options.signer.mint(identity);
    const sign = (signed: string) => {
      metadata.set(IDENTITY_KEY, signed);
      return metadata;
    };
    return typeof token === 'string' ? sign(token) : token.then(sign);
  }

  #unaryOnce(method: DescMethod, request: Message, outbound: Outbound): Promise<Message> {
    const { path, requestSerialize, responseDeserialize } = grpcDefinition(method);
    const { metadata, deadline } = outbound;
    return this.#answered(outbound, (done) =>
      this.#client.makeUnaryRequest(
        path,
        requestSerialize,
        responseDeserialize,
        request,
        metadata,
        { deadline },
        done,
      ),
    );
  }

  /** A call with one answer, cancelled by its signals and by a source that fails. */
  #answered(
    { signals }: Outbound,
    open: (done: grpc.requestCallback<Message>, fail: (error: unknown) => void) => { cancel(): void },
  ): Promise<Message> {
    return new Promise<Message>((resolve, reject) => {
      let call: { cancel(): void } | undefined;
      let forget = () => {};
      call = open(
        (error, reply) => {
          forget();
          if (error) reject(failure(error, signals));
          else resolve(reply!);
        },
        (error) => {
          reject(error);
          call?.cancel();
        },
      );
      forget = cancelWith(call, signals);
    });
  }

  async *#reading(
    method: DescMethod,
    options: CallOptions,
    open: (
      definition: ReturnType<typeof grpcDefinition>,
      metadata: grpc.Metadata,
      deadline: number,
      fail: (error: unknown) => void,
    ) => ReadableCall,
  ): AsyncGenerator<Message> {
    const metadata = await this.#metadata(options);
    const signals = signalsOf(options);
    let source: { error: unknown } | undefined;
    const deadline = deadlineOf(options, Number.POSITIVE_INFINITY);
    const call = open(grpcDefinition(method), metadata, deadline, (error) => {
      source = { error };
      call.cancel();
    });
    // After the reader has left, a late error has nobody to go to.
    call.on('error', () => {});
    const forget = cancelWith(call, signals);
    try {
      // A reader that leaves must not destroy the writing side before it has been torn.
      for await (const message of call.iterator({ destroyOnReturn: false })) yield message;
    } catch (error) {
      throw source ? source.error : failure(error as grpc.ServiceError, signals);
    } finally {
      forget();
      call.cancel();
    }
  }
}

function signalsOf({ signal, context }: CallOptions): AbortSignal[] {
  const signals: AbortSignal[] = [];
  if (signal) signals.push(signal);
  if (context) signals.push(context.signal);
  return signals;
}

/** The earlier of what the call asks for and what is left of the context's deadline. */
function deadlineOf(options: CallOptions, fallbackMs: number): number {
  const own = Date.now() + (options.timeoutMs ?? fallbackMs);
  return Math.min(own, options.context?.deadlineMs ?? Number.POSITIVE_INFINITY);
}

/** Whether the same call may succeed a moment later. A server that says when to come again is taken at its word. */
function mayPass(error: unknown): boolean {
  return (
    error instanceof LandfallError &&
    error.code === grpc.status.UNAVAILABLE &&
    error.retryAfterMs === undefined
  );
}

function failure(error: grpc.ServiceError, signals: readonly AbortSignal[]): LandfallError {
  const fired = error.code === grpc.status.CANCELLED ? signals.find((signal) => signal.aborted) : undefined;
  if (fired) {
    const { reason } = fired;
    return reason instanceof LandfallError ? reason : cancelled('the call was cancelled', { cause: reason });
  }
  return errorFromStatus(error.code ?? grpc.status.UNKNOWN, error.details ?? error.message, error.metadata);
}

/** Cancels the call when a signal fires; returns how to stop listening. */
function cancelWith(call: { cancel(): void }, signals: readonly AbortSignal[]): () => void {
  if (signals.length === 0) return () => {};
  const cancel = () => call.cancel();
  for (const signal of signals) {
    if (signal.aborted) cancel();
    else signal.addEventListener('abort', cancel, { once: true });
  }
  return () => {
    for (const signal of signals) signal.removeEventListener('abort', cancel);
  };
}

/** Waits, or ends early when a signal fires. */
async function pause(ms: number, signals: readonly AbortSignal[]): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const timer = setTimeout(resolve, ms);
  const forget = cancelWith({ cancel: resolve }, signals);
  await promise;
  clearTimeout(timer);
  forget();
}
