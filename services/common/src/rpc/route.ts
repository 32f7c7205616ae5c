import { create, type DescMethod, getOption, type Message } from '@bufbuild/protobuf';
import { type Role, role as roleOption } from '@landfall/proto/landfall/mesh/v1/options_pb.js';
import { SpanKind, type SpanOptions } from '@opentelemetry/api';
import type { CallContext } from './call-context.ts';

export type Requests = Message | AsyncIterable<Message>;
export type AnyHandler = (request: Requests, context: CallContext) => unknown;

/** A method as a server offers it: what its contract declares, looked up once. */
export interface Route {
  method: DescMethod;
  /** `landfall.mesh.v1.EchoService/Echo`. */
  name: string;
  service: string;
  /** The least role that may call it. */
  role: Role;
  handler: AnyHandler;
  spanOptions: SpanOptions;
}

export function makeRoute(method: DescMethod, handler: AnyHandler): Route {
  const service = method.parent.typeName;
  const attributes = { 'rpc.system': 'grpc', 'rpc.service': service, 'rpc.method': method.name };
  return {
    method,
    name: `${service}/${method.name}`,
    service,
    role: getOption(method, roleOption),
    handler,
    spanOptions: { kind: SpanKind.SERVER, attributes },
  };
}

/** What a handler returned, as a message of the method's output type. */
export function replyMessage(route: Route, reply: unknown): Message {
  if (typeof reply !== 'object' || reply === null) throw new TypeError(`${route.name} returned no message`);
  return '$typeName' in reply ? (reply as Message) : create(route.method.output, reply as never);
}
