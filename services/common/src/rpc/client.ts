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
import { LandfallError } from '../errors/errors.ts';
import { errorFromStatus } from '../errors/status-details.ts';
import type { Identity } from '../identity/identity.ts';
import { IDENTITY_KEY, type IdentitySigner } from '../identity/signer.ts';
import type { CallContext } from './call-context.ts';
import { channelCredentials } from './credentials.ts';
import { grpcDefinition } from './definition.ts';
import { RetryBudget } from './retry-budget.ts';

export interface RpcClientOptions {
  signer: IdentitySigner;
  tls?: TlsConfig | undefined;
  /** Who calls where a call names nobody: the service itself. */
  identity?: Identity;
}

export interface CallOptions {
  /** The call that this one is made for: its identity, deadline, trace and cancellation are passed on. */
  context?: CallContext;
  /** Who calls, where it is not the context's caller. */
  identity?: Identity;
  signal?: AbortSignal;
  /** Milliseconds; never beyond the context's deadline. Unary calls get 30,000 without. */
  timeoutMs?: number;
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
      // Retries are ours: by the contract's idempotency level and within a budget.
      'grpc.enable_retries': 0,
      'grpc.service_config_disable_resolution': 1,
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
  unary(method: DescMethod, request: Message, options: CallOptions = {}): Promise<Message> {
    const safe =
      method.idempotency === Idempotency.NO_SIDE_EFFECTS || method.idempotency === Idempotency.IDEMPOTENT;
    return this.#retrying(safe ? MAX_ATTEMPTS : 1, options, (metadata, call) =>
      this.#unaryOnce(method, request, metadata, call),
    );
  }

  serverStream(method: DescMethod, request: Message, options: CallOptions = {}): AsyncIterable<Message> {
    return this.#reading(method, options, (definition, metadata, call) =>
      this.#client.makeServerStreamRequest(
        definition.path,
        definition.requestSerialize,
        definition.responseDeserialize,
        request,
        metadata,
        call,
      ),
    );
  }

  clientStream(
    method: DescMethod,
    requests: AsyncIterable<Message>,
    options: CallOptions = {},
  ): Promise<Message> {
    return this.#retrying(1, options, (metadata, call) =>
      this.#clientStreamOnce(method, requests, metadata, call),
    );
  }

  bidiStream(
    method: DescMethod,
    requests: AsyncIterable<Message>,
    options: CallOptions = {},
  ): AsyncIterable<Message> {
    return this.#reading(method, options, (definition, metadata, call) => {
      const stream = this.#client.makeBidiStreamRequest(
        definition.path,
        definition.requestSerialize,
        definition.responseDeserialize,
        metadata,
        call,
      );
      void pump(requests, stream);
      return stream;
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

  async #metadata(options: CallOptions): Promise<grpc.Metadata> {
    const metadata = new grpc.Metadata();
    const identity = options.identity ?? options.context?.identity ?? this.#options.identity;
    if (identity) {
      const token = this.#options.signer.mint(identity);
      metadata.set(IDENTITY_KEY, typeof token === 'string' ? token : await token);
    }
    propagation.inject(options.context?.trace ?? otel.active(), metadata, setter);
    return metadata;
  }

  #deadline(options: CallOptions, fallbackMs: number): number {
    const own = Date.now() + (options.timeoutMs ?? fallbackMs);
    return Math.min(own, options.context?.deadlineMs ?? Number.POSITIVE_INFINITY);
  }

  async #retrying(
    attempts: number,
    options: CallOptions,
    once: (metadata: grpc.Metadata, call: Outbound) => Promise<Message>,
  ): Promise<Message> {
    const signals = [options.signal, options.context?.signal].filter((s) => s !== undefined);
    const signal = signals.length > 1 ? AbortSignal.any(signals) : signals[0];
    const deadline = this.#deadline(options, DEFAULT_TIMEOUT_MS);
    this.#budget.request();
    for (let attempt = 1; ; attempt++) {
      try {
        return await once(await this.#metadata(options), { deadline, signal });
      } catch (error) {
        const again =
          error instanceof LandfallError &&
          error.code === grpc.status.UNAVAILABLE &&
          error.retryAfterMs === undefined &&
          attempt < attempts &&
          !signal?.aborted &&
          this.#budget.takeRetry();
        if (!again) throw error;
        const pauseMs = 50 * 2 ** attempt * (0.5 + Math.random() / 2);
        if (Date.now() + pauseMs >= deadline) throw error;
        await new Promise((resolve) => setTimeout(resolve, pauseMs));
      }
    }
  }

  #unaryOnce(method: DescMethod, request: Message, metadata: grpc.Metadata, { deadline, signal }: Outbound) {
    const definition = grpcDefinition(method);
    return new Promise<Message>((resolve, reject) => {
      const call = this.#client.makeUnaryRequest(
        definition.path,
        definition.requestSerialize,
        definition.responseDeserialize,
        request,
        metadata,
        { deadline },
        (error, reply) => (error ? reject(fromServiceError(error)) : resolve(reply!)),
      );
      cancelWith(call, signal);
    });
  }

  #clientStreamOnce(
    method: DescMethod,
    requests: AsyncIterable<Message>,
    metadata: grpc.Metadata,
    { deadline, signal }: Outbound,
  ) {
    const definition = grpcDefinition(method);
    return new Promise<Message>((resolve, reject) => {
      const call = this.#client.makeClientStreamRequest(
        definition.path,
        definition.requestSerialize,
        definition.responseDeserialize,
        metadata,
        { deadline },
        (error, reply) => (error ? reject(fromServiceError(error)) : resolve(reply!)),
      );
      cancelWith(call, signal);
      pump(requests, call).catch((error) => {
        call.cancel();
        reject(error);
      });
    });
  }

  async *#reading(
    method: DescMethod,
    options: CallOptions,
    open: (
      definition: ReturnType<typeof grpcDefinition>,
      metadata: grpc.Metadata,
      call: { deadline: number },
    ) => AsyncIterable<Message> & { cancel(): void; on(event: 'error', listener: () => void): unknown },
  ): AsyncGenerator<Message> {
    const metadata = await this.#metadata(options);
    const signals = [options.signal, options.context?.signal].filter((s) => s !== undefined);
    const call = open(grpcDefinition(method), metadata, {
      deadline: this.#deadline(options, Number.POSITIVE_INFINITY),
    });
    // After the reader has left, a late error has nobody to go to.
    call.on('error', () => {});
    const forget = signals.map((signal) => cancelWith(call, signal));
    try {
      for await (const message of call) yield message;
    } catch (error) {
      throw fromServiceError(error as grpc.ServiceError);
    } finally {
      for (const f of forget) f();
      call.cancel();
    }
  }
}

interface Outbound {
  deadline: number;
  signal: AbortSignal | undefined;
}

function fromServiceError(error: grpc.ServiceError): LandfallError {
  return errorFromStatus(error.code ?? grpc.status.UNKNOWN, error.details ?? error.message, error.metadata);
}

/** Cancels the call when the signal fires; returns how to stop listening. */
function cancelWith(call: { cancel(): void }, signal: AbortSignal | undefined): () => void {
  if (!signal) return () => {};
  const cancel = () => call.cancel();
  if (signal.aborted) cancel();
  else signal.addEventListener('abort', cancel, { once: true });
  return () => signal.removeEventListener('abort', cancel);
}

async function pump(
  requests: AsyncIterable<Message>,
  call: grpc.ClientWritableStream<Message>,
): Promise<void> {
  let open = true;
  call.once('close', () => {
    open = false;
  });
  for await (const request of requests) {
    if (!open) return;
    if (!call.write(request)) {
      await new Promise<void>((resolve) => {
        call.once('drain', resolve);
        call.once('close', resolve);
        call.once('error', () => resolve());
      });
    }
  }
  call.end();
}
