/** What lists do not show is not there for those who guess its id; and no method takes an id of which nobody has said how. */

import { create, type DescMethod, type Message } from '@bufbuild/protobuf';
import { Code, createClient } from '@connectrpc/connect';
import { createConnectTransport } from '@connectrpc/connect-node';
import { status } from '@grpc/grpc-js';
import { notFound } from '@landfall/common/errors/errors.ts';
import type { Identity } from '@landfall/common/identity/identity.ts';
import { namedIn, namesResources, requestNames } from '@landfall/common/identity/resources.ts';
import { ruleOf } from '@landfall/common/identity/rule.ts';
import { AccessService } from '@landfall/proto/landfall/gateway/v1/access_service_pb.js';
import { AdminService } from '@landfall/proto/landfall/gateway/v1/admin_service_pb.js';
import { FilterAction } from '@landfall/proto/landfall/gateway/v1/content_pb.js';
import { ContentService } from '@landfall/proto/landfall/gateway/v1/content_service_pb.js';
import { Role } from '@landfall/proto/landfall/mesh/v1/options_pb.js';
import { TrainerService } from '@landfall/proto/landfall/trainer/v1/trainer_service_pb.js';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { BY_ID, EXCUSED, idsIn, requireById, requireShown } from '../src/access/by-id.ts';
import { FILTERED, UNFILTERED } from '../src/access/lists.ts';
import { routeName } from '../src/edge/route-name.ts';
import { publicMethods } from '../src/edge/services.ts';
import { GatewayMesh } from './harness.ts';
import { withName } from './naming.ts';

const PAGING = new Set(['request_id', 'page_size', 'page_token', 'before_version']);

test('every public method that takes an id is asked what it is about, or it is said why it need not be', () => {
  for (const method of publicMethods.values()) {
    const name = routeName(method);
    const isAsked = BY_ID.has(method);
    const excuse = EXCUSED.get(method);
    if (isAsked) {
      expect([name, excuse]).toEqual([name, undefined]);
      continue;
    }
    const takesNone = method.input.fields.every((field) => PAGING.has(field.name));
    const isList = FILTERED.has(method) || UNFILTERED.has(method);
    // Each method of prompts has its row in the rights matrix of their service.
    const isOfPrompts = ruleOf(method).area === 'prompt';
    if (takesNone || isList || isOfPrompts || requestNames(method)) {
      expect([name, excuse]).toEqual([name, undefined]);
      continue;
    }
    expect([name, excuse]).toEqual([name, expect.stringMatching(/office|nothing|stream/)]);
    if (excuse === 'office') expect([name, ruleOf(method).needed]).toEqual([name, Role.ADMIN]);
    if (excuse === 'nothing') expect([name, namesResources(method.output)]).toEqual([name, false]);
  }
  for (const { item } of BY_ID.values()) expect(publicMethods.has(routeName(item.read))).toBe(true);
});

/** A request with this id where the table says that it stands. */
function asking(method: DescMethod, id: string): Message {
  const { path, form } = BY_ID.get(method)!;
  const [first, second] = path.split('.') as [string, string?];
  const value = first === 'version' ? BigInt(id) : form ? `tests:/${id}/1.0.0` : id;
  return create(method.input, { [first]: second ? [{ [second]: value }] : value } as never);
}

describe.each([...BY_ID.keys()].map((method) => [routeName(method), method] as const))('%s', (_, method) => {
  const { item } = BY_ID.get(method)!;
  const { own, only } = item.shown;
  const shape = item.read.output.fields.find(({ localName }) => localName === item.field)!.message!;
  const held = withName(shape, (message) =>
    namedIn(shape, message, Role.VIEWER, own, only).map(({ resource }) => resource),
  )!;
  const reply = create(item.read.output, { [item.field]: held } as never);
  const caller = (level: Role): Identity => ({
    ...{ subject: 'user:li', tenant: 'acme', role: Role.EDITOR },
    rights: [{ resource: 'models/a', level, restricted: true }],
  });
  const asked: [string, string][] = [];
  const check = async (who: Identity, answer: () => Promise<Message>) => {
    const request = asking(method, '7');
    if (item.read === method) return requireShown(who, method, request, await answer());
    const ids = idsIn(method, request);
    expect(ids).toEqual(['7']);
    const read: Parameters<typeof requireById>[3] = (by, _request, tenant) => {
      asked.push([routeName(by), tenant]);
      return answer();
    };
    await requireById(who, method, ids, read, new AbortController().signal);
  };

  test('is as if there were none for whom its list does not show it, and there for others', async () => {
    const { code, message } = item.missing('7');
    expect(code).toBe(status.NOT_FOUND);
    const shown = async () => reply;
    await expect(check(caller(Role.UNSPECIFIED), shown)).rejects.toMatchObject({ code, message });
    await check(caller(Role.EDITOR), shown);
    await check({ subject: 'user:wang', tenant: 'acme', role: Role.EDITOR, rights: [] }, shown);
    if (item.read !== method) expect(asked).toEqual(Array(3).fill([routeName(item.read), 'acme']));
    // Who may only know of it does nothing to it.
    const viewer = check(caller(Role.VIEWER), shown);
    if (ruleOf(method).needed === Role.VIEWER) await viewer;
    else await expect(viewer).rejects.toMatchObject({ code: status.PERMISSION_DENIED });
  });

  test('of what is not there its service is left to speak, and of nothing else', async () => {
    if (item.read === method) return;
    await check(caller(Role.UNSPECIFIED), async () => {
      throw notFound('there is none');
    });
    const broken = check(caller(Role.UNSPECIFIED), async () => {
      throw new Error('broken');
    });
    await expect(broken).rejects.toThrow('broken');
  });
});

const OPEN = '00000000-0000-7000-8000-000000000001';
const CLOSED = '00000000-0000-7000-8000-000000000002';
const NONE = '00000000-0000-7000-8000-000000000003';
const jobs: Record<string, object> = Object.fromEntries(
  [OPEN, CLOSED].map((id) => [
    id,
    { id, spec: { baseModel: `models:/${id === OPEN ? 'open' : 'secret'}/1.0.0`, outputModel: 'tuned' } },
  ]),
);
const jobOf = (id: string) => {
  const job = jobs[id];
  if (job) return { job };
  throw notFound(`there is no job '${id}'; ListJobs lists them`, {
    ...{ reason: 'JOB_NOT_FOUND', metadata: { id } },
  });
};

let mesh: GatewayMesh | undefined;
const cancelled: string[] = [];
beforeAll(async () => {
  mesh = await GatewayMesh.start({
    async *generate() {},
    trainer: {
      getJob: ({ id }) => jobOf(id),
      cancelJob: ({ id }) => {
        const reply = jobOf(id);
        cancelled.push(id);
        return reply;
      },
      async *watchJob({ id }) {
        yield jobOf(id);
      },
      listJobs: () => ({ jobs: Object.values(jobs) }),
    },
  });
});
afterAll(() => mesh?.[Symbol.asyncDispose]());

const as = (secret: string) => {
  const transport = createConnectTransport({
    ...{ baseUrl: mesh!.url, httpVersion: '2' },
    interceptors: [
      (next) => (request) => {
        request.header.set('authorization', `Bearer ${secret}`);
        return next(request);
      },
    ],
  });
  const trainer = createClient(TrainerService, transport);
  const watch = async (id: string) => {
    for await (const { job } of trainer.watchJob({ id })) return job!.id;
    throw new Error('nothing was shown');
  };
  const ways: Record<string, (id: string) => Promise<string>> = {
    GetJob: async (id) => (await trainer.getJob({ id })).job!.id,
    WatchJob: watch,
    CancelJob: async (id) => (await trainer.cancelJob({ id })).job!.id,
  };
  const openAi = (path: string, method = 'GET') =>
    fetch(`${mesh!.url}/v1/fine_tuning/jobs/${path}`, {
      ...{ method, headers: { authorization: `Bearer ${secret}` } },
    });
  return {
    ...{ trainer, ways, openAi },
    access: createClient(AccessService, transport),
    admin: createClient(AdminService, transport),
    content: createClient(ContentService, transport),
  };
};

test('of two users of a tenant one has a job and the other can not tell it from none, on every way', async (t) => {
  if (!mesh) return t.skip();
  const first = as(mesh.apiKey);
  const key = async (groups: string[]) =>
    as((await first.admin.createKey({ name: 'k', role: Role.EDITOR, groups })).secret);
  const [doctor, stranger] = [await key(['doctors']), await key([])];
  const closed = { resource: 'models/secret' };
  await first.access.restrictResource({ ...closed, restricted: true });
  await first.access.grantRight({ ...closed, grantee: 'group:doctors', right: Role.INVOKER });
  const listed = async ({ trainer }: typeof doctor) => (await trainer.listJobs({})).jobs.map(({ id }) => id);
  expect([await listed(doctor), await listed(stranger)]).toEqual([[OPEN, CLOSED], [OPEN]]);
  for (const [name, way] of Object.entries(stranger.ways)) {
    expect([name, await way(OPEN)]).toEqual([name, OPEN]);
    const [hidden, none] = await Promise.all([CLOSED, NONE].map((id) => way(id).catch((cause) => cause)));
    expect([name, hidden.code, none.code]).toEqual([name, Code.NotFound, Code.NotFound]);
    // Neither by its words nor by its details.
    expect(hidden.rawMessage.replace(CLOSED, NONE)).toBe(none.rawMessage);
    const details = (error: { details: { debug?: unknown }[] }) =>
      JSON.stringify(error.details.map(({ debug }) => debug)).replaceAll(CLOSED, NONE);
    expect(details(hidden)).toBe(details(none));
    expect([name, await doctor.ways[name]!(CLOSED)]).toEqual([name, CLOSED]);
  }
  expect(cancelled).toEqual([OPEN, CLOSED]);
  for (const [path, verb] of [
    ['', 'GET'],
    ['/events', 'GET'],
    ['/cancel', 'POST'],
  ] as const) {
    expect([path, (await stranger.openAi(`${CLOSED}${path}`, verb)).status]).toEqual([path, 404]);
    expect([path, (await doctor.openAi(`${CLOSED}${path}`, verb)).status]).toEqual([path, 200]);
  }
  expect(cancelled).toEqual([OPEN, CLOSED, CLOSED]);
  // Who may see it and no more, may not cancel it.
  await first.access.grantRight({ ...closed, grantee: 'group:doctors', right: Role.VIEWER });
  expect(await doctor.ways.GetJob!(CLOSED)).toBe(CLOSED);
  await expect(doctor.ways.CancelJob!(CLOSED)).rejects.toMatchObject({ code: Code.PermissionDenied });
  expect(cancelled).toHaveLength(3);
  // Administrators keep what is restricted.
  expect(await first.ways.GetJob!(CLOSED)).toBe(CLOSED);
});

test('a content policy is hidden from whom its list hides it', async (t) => {
  if (!mesh) return t.skip();
  const first = as(mesh.apiKey);
  const { secret } = await first.admin.createKey({ name: 'e', role: Role.EDITOR });
  const editor = as(secret);
  const judge = { deployment: 'court', rubric: 'r' };
  await first.content.setContentPolicy({
    policy: { rules: [{ routes: ['*'], requestFilters: [{ name: 'j', judge, action: FilterAction.FLAG }] }] },
  });
  const { version } = await editor.content.getContentPolicy({});
  await first.access.restrictResource({ resource: 'deployments/court', restricted: true });
  expect((await editor.content.listContentPolicies({})).versions).toEqual([]);
  for (const asked of [0n, version!.version])
    await expect(editor.content.getContentPolicy({ version: asked })).rejects.toMatchObject({
      code: Code.NotFound,
    });
  expect((await first.content.getContentPolicy({})).version!.version).toBe(version!.version);
});
