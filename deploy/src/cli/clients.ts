import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Client, createClient, type Interceptor } from '@connectrpc/connect';
import { createConnectTransport } from '@connectrpc/connect-node';
import { AccessService } from '@landfall/proto/landfall/gateway/v1/access_service_pb.js';
import { AdminService } from '@landfall/proto/landfall/gateway/v1/admin_service_pb.js';
import { CacheService } from '@landfall/proto/landfall/gateway/v1/cache_service_pb.js';
import { ContentService } from '@landfall/proto/landfall/gateway/v1/content_service_pb.js';
import { IdentityService } from '@landfall/proto/landfall/gateway/v1/identity_service_pb.js';
import { WebhookService } from '@landfall/proto/landfall/gateway/v1/webhook_service_pb.js';
import { connectMesh, type MeshClients } from '../demo/clients.ts';
import { UsageError } from './command.ts';

export interface CliClients extends MeshClients {
  admin: Client<typeof AdminService>;
  identity: Client<typeof IdentityService>;
  access: Client<typeof AccessService>;
  content: Client<typeof ContentService>;
  webhooks: Client<typeof WebhookService>;
  cache: Client<typeof CacheService>;
}

const START = 'start a mesh with `npm start`, or name one with LANDFALL_URL and LANDFALL_API_KEY';

/**
 * Clients of the mesh that LANDFALL_URL and LANDFALL_API_KEY name; without them, of the one that `npm start` runs with
 * the same LANDFALL_HOME and LANDFALL_GATEWAY_PORT.
 *
 * @throws UsageError where there is no key
 */
export function cliClients(env: NodeJS.ProcessEnv): CliClients {
  const url = env.LANDFALL_URL || `http://127.0.0.1:${env.LANDFALL_GATEWAY_PORT || '8080'}`;
  if (!URL.canParse(url))
    throw new UsageError(`LANDFALL_URL is '${url}'; give the gateway's http://host:port`);
  const apiKey = env.LANDFALL_API_KEY || firstKey(env.LANDFALL_HOME || '.landfall');
  const authenticate: Interceptor = (next) => (request) => {
    request.header.set('authorization', `Bearer ${apiKey}`);
    return next(request);
  };
  const transport = createConnectTransport({ baseUrl: url, httpVersion: '2', interceptors: [authenticate] });
  return {
    ...connectMesh(url, apiKey),
    admin: createClient(AdminService, transport),
    identity: createClient(IdentityService, transport),
    access: createClient(AccessService, transport),
    content: createClient(ContentService, transport),
    webhooks: createClient(WebhookService, transport),
    cache: createClient(CacheService, transport),
  };
}

/** The key that a mesh's first start leaves in its state folder. */
function firstKey(home: string): string {
  try {
    return readFileSync(join(home, 'first.key'), 'utf8').trim();
  } catch {
    throw new UsageError(`there is no API key: LANDFALL_API_KEY is not set and ${home} has none; ${START}`);
  }
}

export const unreachable = `the gateway does not answer; ${START}`;
