import { clone, createFileRegistry, type DescService } from '@bufbuild/protobuf';
import { FileDescriptorProtoSchema } from '@bufbuild/protobuf/wkt';
import * as grpc from '@grpc/grpc-js';
import {
  EchoService,
  file_landfall_mesh_v1_echo_service,
} from '@landfall/proto/landfall/mesh/v1/echo_service_pb.js';
import { Role } from '@landfall/proto/landfall/mesh/v1/options_pb.js';
import { expect, test } from 'vitest';
import { IDENTITY_KEY } from '../src/identity/signer.ts';
import { RpcChannel } from '../src/rpc/client.ts';
import { RpcServer } from '../src/rpc/server.ts';
import { atEnd, connect, editor, logger, serve, signer } from './echo.ts';

const { status } = grpc;

/** EchoService with its methods' options replaced: what a contract could also declare. */
function echoDeclaring(role: Role | undefined): DescService {
  const file = clone(FileDescriptorProtoSchema, file_landfall_mesh_v1_echo_service.proto);
  for (const method of file.service[0]!.method) {
    delete method.options;
    if (role === undefined) continue;
    // Field 50701 of MethodOptions, a varint.
    method.options = {
      $typeName: 'google.protobuf.MethodOptions',
      uninterpretedOption: [],
      deprecated: false,
      idempotencyLevel: 0,
      $unknown: [{ no: 50701, wireType: 0, data: new Uint8Array([role]) }],
    } as never;
  }
  const resolve = (name: string) =>
    file_landfall_mesh_v1_echo_service.dependencies.find((d) => d.proto.name === name);
  return createFileRegistry(file, resolve).getService(EchoService.typeName)!;
}

async function callAs(role: Role, declared: Role | undefined): Promise<grpc.status> {
  const server = new RpcServer({ signer, logger }).add(echoDeclaring(declared), {
    echo: () => ({}),
  } as never);
  const channel = new RpcChannel(`127.0.0.1:${await server.listen('127.0.0.1', 0)}`, { signer });
  atEnd(() => server.drain(0));
  atEnd(() => channel.close());
  const who = role === Role.UNSPECIFIED ? {} : { identity: { ...editor, role } };
  try {
    await channel.client(EchoService).echo({}, who);
    return status.OK;
  } catch (error) {
    return (error as { code: grpc.status }).code;
  }
}

test('a method that declares no role is closed, even to services', async () => {
  for (const declared of [undefined, Role.UNSPECIFIED]) {
    for (const role of [Role.VIEWER, Role.ADMIN, Role.SERVICE]) {
      expect(await callAs(role, declared), `${declared} ${role}`).toBe(status.PERMISSION_DENIED);
    }
  }
});

test('a method of services is open to services alone, a public one to everyone', async () => {
  expect(await callAs(Role.ADMIN, Role.SERVICE)).toBe(status.PERMISSION_DENIED);
  expect(await callAs(Role.SERVICE, Role.SERVICE)).toBe(status.OK);
  expect(await callAs(Role.UNSPECIFIED, Role.SERVICE)).toBe(status.UNAUTHENTICATED);
  expect(await callAs(Role.UNSPECIFIED, Role.PUBLIC)).toBe(status.OK);
  expect(await callAs(Role.VIEWER, Role.PUBLIC)).toBe(status.OK);
});

test('a token that claims to be public reaches nothing', async () => {
  expect(await callAs(Role.PUBLIC, Role.VIEWER)).toBe(status.PERMISSION_DENIED);
});

/** A unary call of bytes as they are. */
function callBytes(address: string, path: string, bytes: Buffer, token: string | undefined) {
  const client = new grpc.Client(address, grpc.credentials.createInsecure());
  atEnd(() => client.close());
  const metadata = new grpc.Metadata();
  if (token !== undefined) metadata.set(IDENTITY_KEY, token);
  const same = (value: Buffer) => value;
  return new Promise<grpc.status>((resolve) => {
    client.makeUnaryRequest(path, same, same, bytes, metadata, (error) =>
      resolve(error ? error.code : status.OK),
    );
  });
}

const ECHO = '/landfall.mesh.v1.EchoService/Echo';

test('bytes that are no message are the fault of their sender, who must be known first', async () => {
  const { address } = await serve();
  const token = await signer.mint(editor);
  const viewer = await signer.mint({ ...editor, role: Role.VIEWER });
  const garbage = [Buffer.from([0x07]), Buffer.from([0x0a, 0xff]), Buffer.alloc(100, 0xff)];
  for (const bytes of garbage) {
    expect(await callBytes(address, ECHO, bytes, undefined)).toBe(status.UNAUTHENTICATED);
    expect(await callBytes(address, ECHO, bytes, token)).toBe(status.INVALID_ARGUMENT);
  }
  // The editor's method: who may not call it is not told about its request.
  const collect = '/landfall.mesh.v1.EchoService/Collect';
  expect(await callBytes(address, collect, garbage[0]!, viewer)).toBe(status.PERMISSION_DENIED);
  expect(await callBytes(address, ECHO, Buffer.alloc(0), token)).toBe(status.OK);
});

test('variants of a path are no method, and need no handler to be refused', async () => {
  const { address } = await serve();
  const token = await signer.mint(editor);
  const empty = Buffer.alloc(0);
  for (const path of [
    '/landfall.mesh.v1.EchoService/echo',
    '/landfall.mesh.v1.EchoService/Echo/',
    '//landfall.mesh.v1.EchoService/Echo',
    '/landfall.mesh.v1.EchoService/../EchoService/Echo',
    '/landfall.mesh.v1.EchoService/%45cho',
    '/landfall.mesh.v1.EchoService/Echo?x',
  ]) {
    expect(await callBytes(address, path, empty, token), path).toBe(status.UNIMPLEMENTED);
  }
});

test('a broken rule in the middle of a stream ends it', async () => {
  const { address } = await serve();
  async function* texts() {
    yield { text: 'fine' };
    yield { text: 'x'.repeat(2000) };
    yield { text: 'never read' };
  }
  const client = connect(address);
  const wrong = { code: status.INVALID_ARGUMENT, fieldViolations: [{ field: 'text' }] };
  await expect(client.collect(texts())).rejects.toMatchObject(wrong);
  await expect(Array.fromAsync(client.converse(texts()))).rejects.toMatchObject(wrong);
});
