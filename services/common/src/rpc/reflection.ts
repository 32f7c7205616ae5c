import { create, type DescFile, type DescService, type MessageInitShape, toBinary } from '@bufbuild/protobuf';
import { nestedTypes } from '@bufbuild/protobuf/reflect';
import { FileDescriptorProtoSchema } from '@bufbuild/protobuf/wkt';
import * as grpc from '@grpc/grpc-js';
import {
  ServerReflection,
  type ServerReflectionRequest,
  type ServerReflectionResponse,
  ServerReflectionResponseSchema,
} from '@landfall/proto/grpc/reflection/v1/reflection_pb.js';
import { grpcDefinition } from './definition.ts';

type Answer = ServerReflectionResponse['messageResponse'];
type Stream = grpc.ServerDuplexStream<ServerReflectionRequest, ServerReflectionResponse>;

/** v1alpha has the same messages under another name. */
const VERSIONS = ['grpc.reflection.v1', 'grpc.reflection.v1alpha'];

/** Every file that the given one needs, itself last. */
function closure(file: DescFile, seen = new Set<DescFile>()): Set<DescFile> {
  for (const dependency of file.dependencies) if (!seen.has(dependency)) closure(dependency, seen);
  return seen.add(file);
}

/** The full names that a file declares, and their parts: methods, fields, values. */
function* symbols(file: DescFile): Generator<string> {
  for (const type of nestedTypes(file)) {
    yield type.typeName;
    if (type.kind === 'message') for (const field of type.fields) yield `${type.typeName}.${field.name}`;
    if (type.kind === 'service') for (const method of type.methods) yield `${type.typeName}.${method.name}`;
    if (type.kind === 'enum') for (const value of type.values) yield `${type.typeName}.${value.name}`;
  }
}

/**
 * grpc.reflection.v1 and v1alpha over protobuf-es' descriptors, so that grpcurl needs no files. The descriptors leave
 * whole: @grpc/reflection drops the options it doesn't know, and with them roles and rules.
 */
export class Reflection {
  readonly #services: string[] = [];
  readonly #byName = new Map<string, DescFile>();
  readonly #bySymbol = new Map<string, DescFile>();
  readonly #streams = new Set<Stream>();

  constructor(services: readonly DescService[]) {
    for (const service of [...services, ServerReflection]) {
      this.#services.push(service.typeName);
      for (const file of closure(service.file)) {
        this.#byName.set(file.proto.name, file);
        for (const symbol of symbols(file)) this.#bySymbol.set(symbol, file);
      }
    }
  }

  addTo(server: grpc.Server): void {
    const method = ServerReflection.method.serverReflectionInfo;
    for (const version of VERSIONS) {
      const path = `/${version}.ServerReflection/${method.name}`;
      const definition = { ...grpcDefinition(method), path };
      server.addService({ [method.name]: definition } as grpc.ServiceDefinition, {
        [method.name]: (stream: Stream) => this.#serve(stream),
      });
    }
  }

  /** Ends what callers hold open. */
  end(): void {
    for (const stream of this.#streams) stream.end();
    this.#streams.clear();
  }

  #serve(stream: Stream): void {
    this.#streams.add(stream);
    stream.once('cancelled', () => this.#streams.delete(stream));
    stream.on('data', (request: ServerReflectionRequest) => {
      const messageResponse = this.#answer(request.messageRequest);
      const reply = { validHost: request.host, originalRequest: request, messageResponse };
      stream.write(create(ServerReflectionResponseSchema, reply));
    });
    stream.on('end', () => stream.end());
  }

  #answer(question: ServerReflectionRequest['messageRequest']): Answer {
    switch (question.case) {
      case 'listServices': {
        const service = this.#services.map((name) => ({ name }));
        return answer({ case: 'listServicesResponse', value: { service } });
      }
      case 'fileByFilename':
        return file(this.#byName.get(question.value), question.value);
      case 'fileContainingSymbol':
        return file(this.#bySymbol.get(question.value), question.value);
      case 'fileContainingExtension': {
        const { containingType, extensionNumber } = question.value;
        const found = this.#extensions(containingType).find(({ number }) => number === extensionNumber);
        return file(found?.file, `extension ${extensionNumber} of ${containingType}`);
      }
      case 'allExtensionNumbersOfType': {
        const extensionNumber = this.#extensions(question.value).map(({ number }) => number);
        const value = { baseTypeName: question.value, extensionNumber };
        return answer({ case: 'allExtensionNumbersResponse', value });
      }
      default:
        return refusal(grpc.status.INVALID_ARGUMENT, 'the request asks for nothing');
    }
  }

  #extensions(extendee: string) {
    return [...this.#byName.values()]
      .flatMap((from) => [...nestedTypes(from)])
      .filter((type) => type.kind === 'extension')
      .filter((extension) => extension.extendee.typeName === extendee);
  }
}

function answer(messageResponse: MessageInitShape<typeof ServerReflectionResponseSchema>['messageResponse']) {
  return create(ServerReflectionResponseSchema, messageResponse ? { messageResponse } : {}).messageResponse;
}

function refusal(errorCode: grpc.status, errorMessage: string): Answer {
  return answer({ case: 'errorResponse', value: { errorCode, errorMessage } });
}

/** Dependencies are asked for by name, each when it is needed. */
function file(found: DescFile | undefined, name: string): Answer {
  if (!found) return refusal(grpc.status.NOT_FOUND, `${name.slice(0, 200)} is not known here`);
  const fileDescriptorProto = [toBinary(FileDescriptorProtoSchema, found.proto)];
  return answer({ case: 'fileDescriptorResponse', value: { fileDescriptorProto } });
}
