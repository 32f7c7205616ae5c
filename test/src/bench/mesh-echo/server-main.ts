/**
 * An echo server in a process of its own, started by measure.ts: `chassis` answers with all that a service of the
 * mesh has on (identity, role, rules, spans, metrics), `bare` with grpc-js and the same messages alone.
 */

import { create } from '@bufbuild/protobuf';
import * as grpc from '@grpc/grpc-js';
import { IdentitySigner } from '@landfall/common/identity/signer.ts';
import { createLogger } from '@landfall/common/log/logger.ts';
import { grpcDefinitions } from '@landfall/common/rpc/definition.ts';
import { RpcServer } from '@landfall/common/rpc/server.ts';
import { startTelemetry } from '@landfall/common/telemetry/telemetry.ts';
import type { EchoRequest } from '@landfall/proto/landfall/mesh/v1/echo_service_pb.js';
import { EchoResponseSchema, EchoService } from '@landfall/proto/landfall/mesh/v1/echo_service_pb.js';

/** Listens on a free port of loopback. */
async function chassis(key: Buffer): Promise<number> {
  await startTelemetry('echo', 0);
  const server = new RpcServer({ signer: new IdentitySigner(key), logger: createLogger('echo', 'info') });
  server.add(EchoService, { echo: ({ text, number }) => ({ echo: { text, number } }) });
  return server.listen('127.0.0.1', 0);
}

function bare(): Promise<number> {
  const server = new grpc.Server();
  server.addService(grpcDefinitions(EchoService) as grpc.ServiceDefinition, {
    Echo: (call: grpc.ServerUnaryCall<EchoRequest, unknown>, done: grpc.sendUnaryData<unknown>) => {
      const { text, number } = call.request;
      done(null, create(EchoResponseSchema, { echo: { text, number } }));
    },
  });
  return new Promise((resolve, reject) => {
    server.bindAsync('127.0.0.1:0', grpc.ServerCredentials.createInsecure(), (error, port) =>
      error ? reject(error) : resolve(port),
    );
  });
}

const [kind, keyHex] = process.argv.slice(2);
const port = kind === 'chassis' ? await chassis(Buffer.from(keyHex!, 'hex')) : await bare();
process.on('message', () => process.send?.({ cpu: process.cpuUsage() }));
process.on('disconnect', () => process.exit(0));
process.send?.({ port });
