/** One call of a method on the bare wire of each protocol: what comes back is its code, and nothing is retried. */

import { type ClientHttp2Session, constants } from 'node:http2';
import type { DescMethod } from '@bufbuild/protobuf';
import { Code } from '@connectrpc/connect';

/** A message without fields, in the frame of gRPC. */
const EMPTY = Buffer.alloc(5);
/** Watches that nobody ends are ended by this. */
const TIMEOUT_MS = 5000;

export interface Caller {
  url: string;
  session: ClientHttp2Session;
  /** API key; none where it is left out. */
  secret?: string;
}

export type Wire = (caller: Caller, method: DescMethod) => Promise<Code | 0>;

const pathOf = (method: DescMethod): string => `/${method.parent.typeName}/${method.name}`;
const credential = ({ secret }: Caller): Record<string, string> =>
  secret === undefined ? {} : { authorization: `Bearer ${secret}` };

const CODES = new Map(
  Object.entries(Code)
    .filter(([, value]) => typeof value === 'number')
    .map(([name, value]) => [
      name.replace(/(?<=[a-z])[A-Z]/g, (letter) => `_${letter}`).toLowerCase(),
      value,
    ]),
);
const codeNamed = (name: string): Code => CODES.get(name) as Code;

const connectJson: Wire = async (caller, method) => {
  const isStream = method.methodKind !== 'unary';
  const message = Buffer.from('{}');
  const frame = Buffer.concat([Buffer.from([0, 0, 0, 0, message.length]), message]);
  const response = await fetch(`${caller.url}${pathOf(method)}`, {
    method: 'POST',
    headers: {
      ...{ 'content-type': isStream ? 'application/connect+json' : 'application/json' },
      ...{ 'connect-timeout-ms': String(TIMEOUT_MS), ...credential(caller) },
    },
    body: isStream ? frame : message,
  });
  const body = Buffer.from(await response.arrayBuffer());
  if (!isStream) {
    return response.ok ? 0 : codeNamed((JSON.parse(body.toString()) as { code: string }).code);
  }
  // The last frame of a stream tells its end.
  for (let at = 0; at + 5 <= body.length; ) {
    const end = at + 5 + body.readUInt32BE(at + 1);
    if (body[at]! & 2) {
      const { error } = JSON.parse(body.subarray(at + 5, end).toString()) as { error?: { code: string } };
      return error ? codeNamed(error.code) : 0;
    }
    at = end;
  }
  throw new Error(`${pathOf(method)} ended without an end: ${response.status}`);
};

const grpc: Wire = (caller, method) =>
  new Promise((resolve, reject) => {
    const stream = caller.session.request({
      [constants.HTTP2_HEADER_METHOD]: 'POST',
      [constants.HTTP2_HEADER_PATH]: pathOf(method),
      ...{ 'content-type': 'application/grpc+proto', te: 'trailers' },
      ...{ 'grpc-timeout': `${TIMEOUT_MS}m`, ...credential(caller) },
    });
    let status: unknown;
    stream.on('response', (headers) => (status = headers['grpc-status'] ?? status));
    stream.on('trailers', (headers) => (status = headers['grpc-status'] ?? status));
    stream.on('error', reject);
    stream.on('close', () =>
      status === undefined ? reject(new Error(`${pathOf(method)} has no status`)) : resolve(Number(status)),
    );
    stream.resume();
    stream.end(EMPTY);
  });

const grpcWeb: Wire = async (caller, method) => {
  const response = await fetch(`${caller.url}${pathOf(method)}`, {
    method: 'POST',
    headers: {
      ...{ 'content-type': 'application/grpc-web+proto', 'x-grpc-web': '1' },
      ...{ 'grpc-timeout': `${TIMEOUT_MS}m`, ...credential(caller) },
    },
    body: EMPTY,
  });
  const body = Buffer.from(await response.arrayBuffer()).toString('latin1');
  const status = response.headers.get('grpc-status') ?? /grpc-status: ?(\d+)/i.exec(body)?.[1];
  if (status === undefined) throw new Error(`${pathOf(method)} has no status: ${response.status}`);
  return Number(status);
};

export const WIRES: Readonly<Record<string, Wire>> = {
  'Connect JSON': connectJson,
  gRPC: grpc,
  'gRPC-Web': grpcWeb,
};
