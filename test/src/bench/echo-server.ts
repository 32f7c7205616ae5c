/** One echo server in a process of its own: `echo-server.ts chassis|bare KEYFILE`; tells its port over IPC. */
import { readFileSync } from 'node:fs';
import { create } from '@bufbuild/protobuf';
import * as grpc from '@grpc/grpc-js';
import { IdentitySigner } from '@landfall/common/identity/signer.ts';
import { createLogger } from '@landfall/common/log/logger.ts';
import { grpcDefinitions } from '@landfall/common/rpc/definition.ts';
import { RpcServer } from '@landfall/common/rpc/server.ts';
import { startTelemetry } from '@landfall/common/telemetry/telemetry.ts';
import {
  type EchoRequest,
  EchoResponseSchema,
  EchoService,
} from '@landfall/proto/landfall/mesh/v1/echo_service_pb.js';

const [kind, keyFile] = process.argv.slice(2) as ['chassis' | 'bare', string];

async function listen(): Promise<{ port: number; stop: () => Promise<void> }> {
  if (kind === 'chassis') {
    await startTelemetry('echo', 0);
    const signer = new IdentitySigner(readFileSync(keyFile));
    const server = new RpcServer({ signer, logger: createLogger('echo', 'info') });
    server.add(EchoService, { echo: ({ text, number }) => ({ echo: { text, number } }) });
    return { port: await server.listen('127.0.0.1', 0), stop: () => server.drain(1000) };
  }
  const server = new grpc.Server();
  server.addService(grpcDefinitions(EchoService) as grpc.ServiceDefinition, {
    Echo: (call: grpc.ServerUnaryCall<EchoRequest, unknown>, done: grpc.sendUnaryData<unknown>) => {
      const { text, number } = call.request;
      done(null, create(EchoResponseSchema, { echo: { text, number } }));
    },
  });
  const port = await new Promise<number>((resolve, reject) =>
    server.bindAsync('127.0.0.1:0', grpc.ServerCredentials.createInsecure(), (error, bound) =>
      error ? reject(error) : resolve(bound),
    ),
  );
  return { port, stop: () => new Promise((resolve) => server.tryShutdown(() => resolve())) };
}

const { port, stop } = await listen();
process.send!({ port });
process.once('SIGTERM', () => void stop().then(() => process.disconnect()));
