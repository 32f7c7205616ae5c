import { create, createFileRegistry, type DescMethod, fromBinary } from '@bufbuild/protobuf';
import {
  type FileDescriptorProto,
  FileDescriptorProtoSchema,
  FileDescriptorSetSchema,
} from '@bufbuild/protobuf/wkt';
import type { RpcChannel } from '@landfall/common/rpc/client.ts';
import {
  ServerReflection,
  ServerReflectionRequestSchema,
  type ServerReflectionResponse,
} from '@landfall/proto/grpc/reflection/v1/reflection_pb.js';

type Question = Parameters<typeof create<typeof ServerReflectionRequestSchema>>[1];

async function ask(channel: RpcChannel, messageRequest: NonNullable<Question>['messageRequest']) {
  async function* one() {
    yield create(ServerReflectionRequestSchema, messageRequest ? { messageRequest } : {});
  }
  for await (const reply of channel.bidiStream(ServerReflection.method.serverReflectionInfo, one())) {
    return (reply as ServerReflectionResponse).messageResponse;
  }
  throw new Error('no answer');
}

/** Every method of the services whose names begin so, as the running server itself describes them. */
export async function reflectedMethods(channel: RpcChannel, prefix: string): Promise<DescMethod[]> {
  const list = await ask(channel, { case: 'listServices', value: '*' });
  if (list.case !== 'listServicesResponse') throw new Error(`${list.case}`);
  const names = list.value.service.map(({ name }) => name).filter((name) => name.startsWith(prefix));
  const files = new Map<string, FileDescriptorProto>();
  const take = (reply: typeof list | Awaited<ReturnType<typeof ask>>) => {
    if (reply.case !== 'fileDescriptorResponse') throw new Error(`${reply.case}`);
    const taken = reply.value.fileDescriptorProto.map((bytes) =>
      fromBinary(FileDescriptorProtoSchema, bytes),
    );
    for (const file of taken) files.set(file.name, file);
  };
  for (const name of names) {
    take(await ask(channel, { case: 'fileContainingSymbol', value: name }));
    for (;;) {
      const missing = [...files.values()].flatMap((file) => file.dependency).find((one) => !files.has(one));
      if (!missing) break;
      take(await ask(channel, { case: 'fileByFilename', value: missing }));
    }
  }
  const registry = createFileRegistry(create(FileDescriptorSetSchema, { file: inOrder(files) }));
  return names.flatMap((name) => registry.getService(name)!.methods);
}

/** Every file behind those that it needs: a registry takes them in no other order. */
function inOrder(files: ReadonlyMap<string, FileDescriptorProto>): FileDescriptorProto[] {
  const ordered = new Set<FileDescriptorProto>();
  const add = (file: FileDescriptorProto) => {
    if (ordered.has(file)) return;
    for (const name of file.dependency) add(files.get(name)!);
    ordered.add(file);
  };
  for (const file of files.values()) add(file);
  return [...ordered];
}
