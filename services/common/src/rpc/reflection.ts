import { type DescFile, type DescService, toBinary } from '@bufbuild/protobuf';
import { FileDescriptorProtoSchema } from '@bufbuild/protobuf/wkt';
import type * as grpc from '@grpc/grpc-js';
import { ReflectionService } from '@grpc/reflection';

/** Every file that the given one needs, itself last. */
function closure(file: DescFile, seen = new Set<DescFile>()): Set<DescFile> {
  for (const dependency of file.dependencies) if (!seen.has(dependency)) closure(dependency, seen);
  return seen.add(file);
}

/** grpc.reflection.v1 and v1alpha for the services, so that grpcurl needs no files. */
export function addReflection(server: grpc.Server, services: readonly DescService[]): void {
  const files = new Set(services.flatMap((service) => [...closure(service.file)]));
  const fileDescriptorProtos = [...files].map((file) =>
    Buffer.from(toBinary(FileDescriptorProtoSchema, file.proto)),
  );
  const entries = services.map((service) => [
    service.typeName,
    { format: '', type: {}, fileDescriptorProtos },
  ]);
  new ReflectionService(Object.fromEntries(entries) as never).addToServer(server);
}
