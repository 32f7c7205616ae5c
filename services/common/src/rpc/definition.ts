import {
  type DescMessage,
  type DescMethod,
  type DescService,
  fromBinary,
  type Message,
  toBinary,
} from '@bufbuild/protobuf';
import type { MethodDefinition, ServiceDefinition } from '@grpc/grpc-js';

/** What a server gets in place of a message whose bytes are none of its type. */
export class Malformed {}

const MALFORMED = new Malformed();

const read = (schema: DescMessage) => (bytes: Buffer) => fromBinary(schema, bytes);
// grpc-js answers a reader that throws with INTERNAL, before the caller's identity was seen; the fault is the caller's.
const readRequest = (schema: DescMessage) => (bytes: Buffer) => {
  try {
    return fromBinary(schema, bytes);
  } catch {
    return MALFORMED;
  }
};
/**
 * The last request of a stream that is broken off. Node's HTTP/2 client ends a stream in good order before it resets
 * it, so a server sees half an upload as a whole one for a moment; this is no message of any type (field 0, wire
 * type 7), and no server takes it for the end.
 */
export const TORN = {} as Message;
const TORN_BYTES = Buffer.from([0x07]);

const write = (schema: DescMessage) => (message: Message) => {
  if (message === TORN) return TORN_BYTES;
  const bytes = toBinary(schema, message);
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
};

const definitions = new WeakMap<DescMethod, MethodDefinition<Message, Message>>();

/** grpc-js's definition of a protobuf-es method. */
export function grpcDefinition(method: DescMethod): MethodDefinition<Message, Message> {
  let definition = definitions.get(method);
  if (!definition) {
    definition = {
      path: `/${method.parent.typeName}/${method.name}`,
      requestStream: method.methodKind === 'client_streaming' || method.methodKind === 'bidi_streaming',
      responseStream: method.methodKind === 'server_streaming' || method.methodKind === 'bidi_streaming',
      requestSerialize: write(method.input),
      requestDeserialize: read(method.input),
      responseSerialize: write(method.output),
      responseDeserialize: read(method.output),
    };
    definitions.set(method, definition);
  }
  return definition;
}

/** All methods of a service by grpc-js's names. */
export function grpcDefinitions(service: DescService): Record<string, MethodDefinition<Message, Message>> {
  return Object.fromEntries(service.methods.map((method) => [method.name, grpcDefinition(method)]));
}

/** The same for a server: a request that cannot be read arrives as `Malformed`. */
export function serverDefinitions(service: DescService): ServiceDefinition {
  const methods = service.methods.map((method) => [
    method.name,
    { ...grpcDefinition(method), requestDeserialize: readRequest(method.input) },
  ]);
  return Object.fromEntries(methods);
}
