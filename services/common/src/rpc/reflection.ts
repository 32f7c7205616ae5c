import { type DescFile, type DescService, toBinary } from '@bufbuild/protobuf';
import { FileDescriptorProtoSchema } from '@bufbuild/protobuf/wkt';
import type * as grpc from '@grpc/grpc-js';
import { ReflectionService } from '@grpc/reflection';

type Stream = grpc.ServerDuplexStream<unknown, unknown>;

/** Every file that the given one needs, itself last. */
function closure(file: DescFile, seen = new Set<DescFile>()): Set<DescFile> {
  for (const dependency of file.dependencies) if (!seen.has(dependency)) closure(dependency, seen);
  return seen.add(file);
}

/** grpc.reflection.v1 and v1alpha for services, so that grpcurl needs no files. */
export class Reflection {
  readonly #service: ReflectionService;
  readonly #streams = new Set<Stream>();

  constructor(services: readonly DescService[]) {
    const files = new Set(services.flatMap((service) => [...closure(service.file)]));
    const fileDescriptorProtos = [...files].map((file) =>
      Buffer.from(toBinary(FileDescriptorProtoSchema, file.proto)),
    );
    const entries = services.map((service) => [
      service.typeName,
      { format: '', type: {}, fileDescriptorProtos },
    ]);
    this.#service = new ReflectionService(Object.fromEntries(entries) as never);
  }

  addTo(server: grpc.Server): void {
    const addService = (definition: grpc.ServiceDefinition, methods: grpc.UntypedServiceImplementation) => {
      const kept = Object.entries(methods).map(([name, handle]) => [
        name,
        (stream: Stream) => {
          this.#streams.add(stream);
          stream.once('cancelled', () => this.#streams.delete(stream));
          (handle as (stream: Stream) => void)(stream);
        },
      ]);
      server.addService(definition, Object.fromEntries(kept));
    };
    this.#service.addToServer({ addService } as never);
  }

  /** Ends what callers hold open. */
  end(): void {
    for (const stream of this.#streams) stream.end();
    this.#streams.clear();
  }
}
