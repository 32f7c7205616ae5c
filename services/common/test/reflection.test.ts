import { create, createFileRegistry, fromBinary, getOption, type MessageInitShape } from '@bufbuild/protobuf';
import { type FileDescriptorProto, FileDescriptorProtoSchema } from '@bufbuild/protobuf/wkt';
import * as grpc from '@grpc/grpc-js';
import { field } from '@landfall/proto/buf/validate/validate_pb.js';
import {
  ServerReflection,
  ServerReflectionRequestSchema,
  type ServerReflectionResponse,
} from '@landfall/proto/grpc/reflection/v1/reflection_pb.js';
import { EchoService } from '@landfall/proto/landfall/mesh/v1/echo_service_pb.js';
import { Role, role } from '@landfall/proto/landfall/mesh/v1/options_pb.js';
import { describe, expect, test } from 'vitest';
import { grpcDefinition } from '../src/rpc/definition.ts';
import { atEnd, serve } from './echo.ts';

type Question = MessageInitShape<typeof ServerReflectionRequestSchema>['messageRequest'];
type Version = 'v1' | 'v1alpha';

/** One question on a stream of its own. */
function ask(address: string, version: Version, messageRequest: NonNullable<Question>) {
  const definition = grpcDefinition(ServerReflection.method.serverReflectionInfo);
  const client = new grpc.Client(address, grpc.credentials.createInsecure());
  atEnd(() => client.close());
  const call = client.makeBidiStreamRequest(
    `/grpc.reflection.${version}.ServerReflection/ServerReflectionInfo`,
    definition.requestSerialize,
    definition.responseDeserialize,
  );
  return new Promise<ServerReflectionResponse['messageResponse']>((resolve, reject) => {
    call.on('data', (reply: ServerReflectionResponse) => {
      resolve(reply.messageResponse);
      call.end();
    });
    call.on('error', reject);
    call.write(create(ServerReflectionRequestSchema, { messageRequest }));
  });
}

/** Every file that a symbol needs, fetched as grpcurl does: what an answer leaves out is asked for by its name. */
async function filesOf(address: string, version: Version, symbol: string) {
  const files = new Map<string, FileDescriptorProto>();
  const take = (reply: ServerReflectionResponse['messageResponse']) => {
    if (reply.case !== 'fileDescriptorResponse') throw new Error(`${reply.case}`);
    for (const bytes of reply.value.fileDescriptorProto) {
      const file = fromBinary(FileDescriptorProtoSchema, bytes);
      files.set(file.name, file);
    }
  };
  take(await ask(address, version, { case: 'fileContainingSymbol', value: symbol }));
  for (;;) {
    const missing = [...files.values()].flatMap((f) => f.dependency).find((name) => !files.has(name));
    if (!missing) return files;
    take(await ask(address, version, { case: 'fileByFilename', value: missing }));
  }
}

describe.each(['v1', 'v1alpha'] as const)('%s', (version) => {
  test('lists the services and describes them whole', async () => {
    const { address } = await serve();
    const list = await ask(address, version, { case: 'listServices', value: '*' });
    expect(list).toMatchObject({
      case: 'listServicesResponse',
      value: { service: [{ name: EchoService.typeName }, { name: 'grpc.reflection.v1.ServerReflection' }] },
    });
    const files = await filesOf(address, version, EchoService.typeName);
    const main = files.get('landfall/mesh/v1/echo_service.proto')!;
    const registry = createFileRegistry(main, (name) => files.get(name));
    const service = registry.getService(EchoService.typeName)!;
    expect(service.methods.map((m) => m.name)).toEqual(['Echo', 'EchoStream', 'Collect', 'Converse']);
    expect(service.methods[0]!.output.fields[0]!.message!.typeName).toBe('landfall.mesh.v1.Echo');
    // Options of ours survive: a caller can see which role a method needs, and which rules a field has.
    expect(getOption(service.methods[2]!, role)).toBe(Role.EDITOR);
    expect(getOption(service.methods[0]!.input.fields[0]!, field)).toMatchObject({
      type: { case: 'string', value: { maxLen: 1024n } },
    });
  });

  test('finds files by what they declare, and extensions', async () => {
    const { address } = await serve();
    for (const symbol of ['EchoService.Echo', 'EchoRequest', 'EchoRequest.text', 'Role', 'role']) {
      const found = await ask(address, version, {
        case: 'fileContainingSymbol',
        value: `landfall.mesh.v1.${symbol}`,
      });
      expect(found.case, symbol).toBe('fileDescriptorResponse');
    }
    const extendee = 'google.protobuf.MethodOptions';
    const numbers = await ask(address, version, { case: 'allExtensionNumbersOfType', value: extendee });
    expect(numbers).toMatchObject({ value: { extensionNumber: [50701] } });
    const extension = { containingType: extendee, extensionNumber: 50701 };
    const from = await ask(address, version, { case: 'fileContainingExtension', value: extension });
    expect(from.case).toBe('fileDescriptorResponse');
  });

  test('says so when something is unknown', async () => {
    const { address } = await serve();
    for (const which of ['fileContainingSymbol', 'fileByFilename'] as const) {
      const reply = await ask(address, version, { case: which, value: '../../etc/passwd' });
      expect(reply).toMatchObject({ case: 'errorResponse', value: { errorCode: grpc.status.NOT_FOUND } });
    }
  });
});
