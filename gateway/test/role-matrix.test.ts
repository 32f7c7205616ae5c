/** Every role by every method, for two tenants, on every protocol: no wrong allow, no unguarded method. */

import { connect } from 'node:http2';
import { type DescMethod, getOption } from '@bufbuild/protobuf';
import { Code } from '@connectrpc/connect';
import { Role, role as roleOption } from '@landfall/proto/landfall/mesh/v1/options_pb.js';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { publicMethods, publicServices } from '../src/edge/services.ts';
import { GatewayMesh } from './harness.ts';
import { WIRES, type Wire } from './wire.ts';

const ORDER = ['none', 'viewer', 'invoker', 'editor', 'admin'];
const plain = (level: string) => ({ levels: { any: level }, methods: [] as string[] });

/** What each role may do, written down once more: by area, or `any`; and methods beyond that. */
const ROLES: Record<string, { levels: Record<string, string>; methods: string[] }> = {
  viewer: plain('viewer'),
  invoker: plain('invoker'),
  editor: plain('editor'),
  admin: plain('admin'),
  'ml-engineer': {
    levels: {
      ...{ registry: 'editor', trainer: 'editor', balancer: 'editor', text: 'editor' },
      ...{ prompt: 'invoker', vision: 'invoker', gateway: 'viewer' },
    },
    methods: [],
  },
  'prompt-editor': {
    levels: {
      ...{ prompt: 'editor', text: 'invoker', vision: 'invoker' },
      ...{ registry: 'viewer', trainer: 'viewer', balancer: 'viewer', gateway: 'viewer' },
    },
    methods: [],
  },
  inspector: {
    levels: { vision: 'invoker', text: 'invoker', registry: 'viewer', balancer: 'viewer', gateway: 'viewer' },
    methods: [],
  },
  reviewer: {
    levels: { vision: 'viewer', gateway: 'viewer' },
    methods: ['ReviewService/ClaimReview', 'ReviewService/ReleaseReview', 'ReviewService/DecideReview'].map(
      (name) => `landfall.vision.v1.${name}`,
    ),
  },
  auditor: {
    levels: { any: 'viewer' },
    methods: [
      ...['AdminService/SearchAudit', 'AdminService/ListKeys'].map((name) => `landfall.gateway.v1.${name}`),
      ...['IdentityService/ListMembers', 'IdentityService/ListGroups'].map(
        (name) => `landfall.gateway.v1.${name}`,
      ),
      'landfall.gateway.v1.ContentService/DryRunContentPolicy',
      'landfall.prompt.v1.PromptAccessService/SearchPromptAudit',
    ],
  },
};

const nameOf = (method: DescMethod) => `${method.parent.typeName}/${method.name}`;

function isAllowed(role: string, method: DescMethod): boolean {
  const { levels, methods } = ROLES[role]!;
  const needed = Role[getOption(method, roleOption)]!.toLowerCase();
  const level = levels[method.parent.typeName.split('.')[1]!] ?? levels.any ?? 'none';
  return ORDER.indexOf(level) >= ORDER.indexOf(needed) || methods.includes(nameOf(method));
}

let mesh: GatewayMesh | undefined;
/** Secrets by tenant and role. */
const secrets = new Map<string, string>();

beforeAll(async () => {
  mesh = await GatewayMesh.start({ async *generate() {}, everything: true });
  if (!mesh) return;
  const made = await post(mesh.apiKey, 'IdentityService/CreateTenant', { name: 'acme' });
  for (const [tenant, admin] of [
    ['default', mesh.apiKey],
    ['acme', made.secret],
  ] as const) {
    for (const role of Object.keys(ROLES)) {
      const { secret } = await post(admin, 'AdminService/CreateKey', { name: role, roles: [role] });
      secrets.set(`${tenant} ${role}`, secret);
    }
  }
});
afterAll(async () => {
  await mesh?.[Symbol.asyncDispose]();
});

async function post(secret: string, method: string, body: object): Promise<{ secret: string }> {
  const response = await fetch(`${mesh!.url}/landfall.gateway.v1.${method}`, {
    method: 'POST',
    headers: { authorization: `Bearer ${secret}`, 'content-type': 'application/json' },
    body: JSON.stringify(body),
  });
  expect([method, response.status]).toEqual([method, 200]);
  return (await response.json()) as { secret: string };
}

/** Codes of every public method, a few at a time. */
async function codes(wire: Wire, secret?: string): Promise<Map<DescMethod, Code | 0>> {
  const session = connect(mesh!.url);
  const caller = { url: mesh!.url, session, ...(secret === undefined ? {} : { secret }) };
  const found = new Map<DescMethod, Code | 0>();
  const waiting = [...publicMethods.values()];
  const work = async () => {
    for (let method = waiting.pop(); method; method = waiting.pop()) {
      found.set(method, await wire(caller, method));
    }
  };
  await Promise.all(Array.from({ length: 8 }, work));
  session.destroy();
  return found;
}

const refusals: readonly (Code | 0)[] = [Code.PermissionDenied, Code.Unauthenticated];

test('every method of every public service declares who may call it', () => {
  for (const [service] of publicServices) {
    for (const method of service.methods) {
      const needed = getOption(method, roleOption);
      expect([nameOf(method), Role[needed]]).not.toEqual([nameOf(method), 'UNSPECIFIED']);
      expect(publicMethods.has(nameOf(method))).toBe(needed !== Role.SERVICE);
      // What anybody may call without a credential would have to be a decision of its own.
      expect([nameOf(method), Role[needed]]).not.toEqual([nameOf(method), 'PUBLIC']);
    }
  }
  expect(publicMethods.size).toBeGreaterThan(100);
});

describe.each(Object.keys(WIRES))('%s', (protocol) => {
  const wire = WIRES[protocol]!;

  test.each(['nobody', 'lf_', `lf_${'A'.repeat(43)}`, 'a.b.c'])(
    'no method is open to %s',
    async (secret) => {
      if (!mesh) return;
      const found = await codes(wire, secret === 'nobody' ? undefined : secret);
      for (const [method, code] of found) {
        expect([nameOf(method), Code[code]]).toEqual([nameOf(method), 'Unauthenticated']);
      }
    },
    300_000,
  );

  test.each(
    ['default', 'acme'].flatMap((tenant) => Object.keys(ROLES).map((role) => [tenant, role] as const)),
  )(
    '%s: what a %s may call',
    async (tenant, role) => {
      if (!mesh) return;
      const found = await codes(wire, secrets.get(`${tenant} ${role}`)!);
      const wrong: string[] = [];
      for (const [method, code] of found) {
        const allowed = !refusals.includes(code);
        // Tenants are kept by administrators of the first one.
        const isOperators = /^landfall.gateway.v1.IdentityService\/(Create|List|Update)Tenant/.test(
          nameOf(method),
        );
        if (isOperators && tenant !== 'default') continue;
        if (allowed !== isAllowed(role, method))
          wrong.push(`${nameOf(method)}: ${code === 0 ? 'OK' : Code[code]}`);
      }
      expect(wrong).toEqual([]);
      expect(found.size).toBe(publicMethods.size);
    },
    300_000,
  );
});

test('the OpenAI API asks for the roles of the methods behind it', async (t) => {
  if (!mesh) return t.skip();
  const status = async (path: string, secret: string, body?: object) =>
    (
      await fetch(`${mesh!.url}${path}`, {
        method: body ? 'POST' : 'GET',
        headers: { authorization: `Bearer ${secret}`, 'content-type': 'application/json' },
        ...(body ? { body: JSON.stringify(body) } : {}),
      })
    ).status;
  const text = publicMethods.get('landfall.text.v1.TextInferenceService/Generate')!;
  const list = publicMethods.get('landfall.balancer.v1.BalancerService/ListDeployments')!;
  for (const role of Object.keys(ROLES)) {
    const secret = secrets.get(`acme ${role}`)!;
    const asks = [await status('/v1/chat/completions', secret, {}), await status('/v1/models', secret)];
    expect([role, ...asks.map((each) => each === 403)]).toEqual([
      role,
      !isAllowed(role, text),
      !isAllowed(role, list),
    ]);
  }
});

test.each([
  '//landfall.registry.v1.RegistryService/ListModels',
  '/landfall.registry.v1.RegistryService/ListModels/',
  '/landfall.registry.v1.RegistryService//ListModels',
  '/landfall.registry.v1.RegistryService/listModels',
  '/landfall.registry.v1.RegistryService/%4cistModels',
  '/landfall.registry.v1.RegistryService%2fListModels',
  '/x/../landfall.registry.v1.RegistryService/ListModels',
  '/LANDFALL.registry.v1.RegistryService/ListModels',
  '/landfall.trainer.v1.WorkerService/ReportProgress',
  '/landfall.mesh.v1.EchoService/Echo',
  '/grpc.reflection.v1.ServerReflection/ServerReflectionInfo',
])('no way leads around the check: %s', async (path) => {
  if (!mesh) return;
  const session = connect(mesh.url);
  const answer = await new Promise<{ status: number }>((resolve, reject) => {
    const stream = session.request({ ':method': 'POST', ':path': path, 'content-type': 'application/json' });
    stream.on('response', (headers) => resolve({ status: Number(headers[':status']) }));
    stream.on('error', reject);
    stream.resume();
    stream.end('{}');
  });
  session.destroy();
  expect([401, 404]).toContain(answer.status);
});
