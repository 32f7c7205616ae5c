/** A bare Connect server that forwards to a bare gRPC client, and nothing more: `gateway-forwarder.ts PORT TOKEN`. */
import { createServer } from 'node:http2';
import type { AddressInfo } from 'node:net';
import type { ConnectRouter } from '@connectrpc/connect';
import { connectNodeAdapter } from '@connectrpc/connect-node';
import * as grpc from '@grpc/grpc-js';
import { grpcDefinition } from '@landfall/common/rpc/definition.ts';
import { RegistryService } from '@landfall/proto/landfall/registry/v1/registry_service_pb.js';

const [upstream, token] = process.argv.slice(2) as [string, string];
const { path, requestSerialize, responseDeserialize } = grpcDefinition(RegistryService.method.listModels);
const client = new grpc.Client(`127.0.0.1:${upstream}`, grpc.credentials.createInsecure());
const metadata = new grpc.Metadata();
metadata.set('landfall-identity', token);

const routes = (router: ConnectRouter) => {
  router.service(RegistryService, {
    listModels: (request) =>
      new Promise((resolve, reject) => {
        client.makeUnaryRequest(
          path,
          requestSerialize,
          responseDeserialize,
          request,
          metadata,
          (error, reply) => (error ? reject(error) : resolve(reply as never)),
        );
      }),
  });
};
const server = createServer(connectNodeAdapter({ routes }));
server.listen(0, '127.0.0.1', () => process.send!({ port: (server.address() as AddressInfo).port }));
process.once('SIGTERM', () => process.exit());
