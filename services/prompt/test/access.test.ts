import { randomUUID } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { status } from '@grpc/grpc-js';
import { Broker, EVENT_STREAM } from '@landfall/common/events/broker.ts';
import type { Identity } from '@landfall/common/identity/identity.ts';
import { createLogger } from '@landfall/common/log/logger.ts';
import type { RpcClient } from '@landfall/common/rpc/client.ts';
import { Role } from '@landfall/proto/landfall/mesh/v1/options_pb.js';
import { LabelMoveKind, LabelMoveState, PromptRight } from '@landfall/proto/landfall/prompt/v1/access_pb.js';
import type { PromptAccessService } from '@landfall/proto/landfall/prompt/v1/access_service_pb.js';
import type { PromptService } from '@landfall/proto/landfall/prompt/v1/prompt_service_pb.js';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { editor, type Stage, stage } from './stage.ts';

let at: Stage | undefined;
let prompts: RpcClient<typeof PromptService>;
let access: RpcClient<typeof PromptAccessService>;

beforeAll(async () => {
  at = await stage({});
  if (at) ({ prompts, access } = at);
});
afterAll(async () => {
  await at?.[Symbol.asyncDispose]();
});

const draft = (template: string) => ({ messages: [{ role: 'user', template }] });
const as = (subject: string, role = Role.EDITOR, groups: string[] = []) => ({
  identity: { subject, tenant: editor.tenant, role, groups } satisfies Identity,
});
const li = as('user:li');
const wang = as('user:wang');
const admin = as('user:admin', Role.ADMIN);
const prompt = (value: string) => ({ target: { case: 'prompt' as const, value } });
const folder = (value: string) => ({ target: { case: 'folder' as const, value } });
const denied = { code: status.PERMISSION_DENIED };
const hidden = { code: status.NOT_FOUND };
const refused = { code: status.FAILED_PRECONDITION };

/** A prompt of Li's with versions 1.0.0, 1.1.0 and 1.2.0. */
async function make(place = ''): Promise<string> {
  const name = `p-${randomUUID()}`;
  await prompts.createPrompt({ name, folder: place, draft: draft('a') }, li);
  for (const text of ['b', 'c']) await prompts.createVersion({ name, draft: draft(text) }, li);
  return name;
}

const labels = async (name: string) => (await prompts.getPrompt({ name }, admin)).prompt!.labels;

async function eventsOf(subject: string, of: (event: Record<string, unknown>) => boolean) {
  await using broker = await Broker.connect(at!.natsUrl, 'reader', createLogger('test', 'silent'));
  const consumer = await broker.js.consumers.get(EVENT_STREAM, { filter_subjects: subject });
  const found: Record<string, unknown>[] = [];
  const { num_pending } = await consumer.info();
  if (num_pending === 0) return found;
  for await (const message of await consumer.fetch({ max_messages: num_pending, expires: 2000 })) {
    const event = message.json<Record<string, unknown>>();
    if (of(event)) found.push(event);
  }
  return found;
}

test('while nothing is restricted roles decide; from then on grants alone, for users, groups and everyone', async (t) => {
  if (!at) return t.skip();
  const name = await make();
  await prompts.createVersion({ name, draft: draft('d') }, wang);
  // Who has only a role gives no rights away.
  const gift = { target: prompt(name), grantee: 'user:wang', right: PromptRight.OWNER };
  await expect(access.grantRight(gift, wang)).rejects.toMatchObject(denied);
  expect(await access.restrictAccess({ target: prompt(name), restricted: true }, li)).toMatchObject({
    restricted: true,
  });
  await expect(prompts.getPrompt({ name }, wang)).rejects.toMatchObject(hidden);
  await expect(prompts.createVersion({ name, draft: draft('e') }, wang)).rejects.toMatchObject(hidden);
  await expect(access.listLabelHistory({ name, label: 'x' }, wang)).rejects.toMatchObject(hidden);
  const listed = async (who: typeof li) =>
    (await prompts.listPrompts({ namePrefix: name }, who)).prompts.map((row) => row.name);
  expect(await listed(wang)).toEqual([]);
  expect(await listed(li)).toEqual([name]);
  expect(await listed(admin)).toEqual([name]);

  const doctor = as('user:wang', Role.EDITOR, ['doctors']);
  const given = { target: prompt(name), grantee: 'group:doctors', right: PromptRight.VIEWER };
  expect((await access.grantRight(given, li)).restricted).toBe(true);
  expect((await prompts.getPrompt({ name }, doctor)).prompt!.name).toBe(name);
  expect(await listed(doctor)).toEqual([name]);
  const changing = prompts.createVersion({ name, draft: draft('e') }, doctor);
  await expect(changing).rejects.toMatchObject({
    ...denied,
    message: expect.stringMatching(/needs the right editor.*is restricted/),
  });
  await access.grantRight({ ...given, right: PromptRight.EDITOR }, li);
  await prompts.createVersion({ name, draft: draft('e') }, doctor);
  // A grant never reaches beyond what the role lets a caller call.
  const reader = as('user:wang', Role.VIEWER, ['doctors']);
  await expect(prompts.createVersion({ name, draft: draft('f') }, reader)).rejects.toMatchObject(denied);

  await access.grantRight({ target: prompt(name), grantee: 'everyone', right: PromptRight.VIEWER }, li);
  expect(await listed(wang)).toEqual([name]);
  await expect(prompts.renderPrompt({ name }, wang)).rejects.toMatchObject(denied);
  expect(await access.revokeRight({ target: prompt(name), grantee: 'everyone' }, li)).toMatchObject({
    revoked: true,
  });
  expect(await access.revokeRight({ target: prompt(name), grantee: 'everyone' }, li)).toMatchObject({
    revoked: false,
  });
  expect(await listed(wang)).toEqual([]);

  const { grants, restrictedBy } = await access.listGrants({ target: prompt(name) }, li);
  expect(grants.map(({ grantee, right }) => [grantee, right])).toEqual([
    ['group:doctors', PromptRight.EDITOR],
    ['user:li', PromptRight.OWNER],
  ]);
  expect(restrictedBy).toMatchObject(prompt(name));
  await expect(access.revokeRight({ target: prompt(name), grantee: 'user:li' }, li)).rejects.toMatchObject({
    ...refused,
    message: expect.stringContaining('last owner'),
  });
  const less = { target: prompt(name), grantee: 'user:li', right: PromptRight.EDITOR };
  await expect(access.grantRight(less, admin)).rejects.toMatchObject(refused);
  const revisions = async () =>
    (await eventsOf('landfall.prompt.access.changed.v1', (e) => e.target === `prompts/${name}`)).map(
      ({ change, item, before, after, revision }) => [change, item, before, after, revision].join(' '),
    );
  await expect
    .poll(revisions, { timeout: 10_000 })
    .toEqual([
      'access.restricted    1',
      'right.granted group:doctors none viewer 2',
      'right.granted group:doctors viewer editor 3',
      'right.granted everyone none viewer 4',
      'right.revoked everyone viewer none 5',
    ]);
});

test('grants on a folder hold below it, not beside it, and so do restrictions', async (t) => {
  if (!at) return t.skip();
  const top = `f-${randomUUID()}`;
  const [inside, beside, above] = [
    await make(`${top}/clinic/night`),
    await make(`${top}/clinic-2`),
    await make(top),
  ];
  await access.restrictAccess({ target: folder(`${top}/clinic`), restricted: true }, admin);
  const seen = async (who: typeof li) => {
    const { prompts: rows } = await prompts.listPrompts({ namePrefix: 'p-', pageSize: 500 }, who);
    return [inside, beside, above].filter((name) => rows.some((row) => row.name === name));
  };
  expect(await seen(wang)).toEqual([beside, above]);
  // Whoever made it owns it, also where the folder is restricted.
  expect(await seen(li)).toEqual([inside, beside, above]);
  await expect(prompts.renderPrompt({ name: inside }, wang)).rejects.toMatchObject(hidden);
  const into = { name: `n-${randomUUID()}`, folder: `${top}/clinic`, draft: draft('x') };
  await expect(prompts.createPrompt(into, wang)).rejects.toMatchObject(denied);
  const given = { target: folder(top), grantee: 'user:wang', right: PromptRight.EDITOR };
  await access.grantRight(given, admin);
  expect(await seen(wang)).toEqual([inside, beside, above]);
  await prompts.createPrompt(into, wang);
  expect((await prompts.getPrompt({ name: into.name }, wang)).prompt!.folder).toBe(`${top}/clinic`);
  await access.revokeRight({ target: folder(top), grantee: 'user:wang' }, admin);
  await access.grantRight({ ...given, target: folder(`${top}/clinic/night`) }, admin);
  expect(await seen(wang)).toEqual([inside, beside, above]);
  await access.grantRight({ ...given, target: folder(`${top}/clinic-2`) }, admin);
  await access.revokeRight({ ...given, target: folder(`${top}/clinic/night`) }, admin);
  expect(await seen(wang)).toEqual([beside, above]);
  await access.restrictAccess({ target: folder(`${top}/clinic`), restricted: false }, admin);
  expect(await seen(wang)).toEqual([inside, beside, above]);
});

test('says how somebody stands and by what', async (t) => {
  if (!at) return t.skip();
  const name = await make('explained/deep');
  const ask = { target: prompt(name), right: PromptRight.EDITOR };
  expect(await access.explainRight(ask, wang)).toMatchObject({ allowed: true, right: PromptRight.EDITOR });
  await access.restrictAccess({ target: folder('explained'), restricted: true }, admin);
  await expect(access.explainRight(ask, wang)).rejects.toMatchObject(hidden);
  await access.grantRight(
    { target: folder('explained/deep'), grantee: 'group:nurses', right: PromptRight.INVOKER },
    admin,
  );
  const nurse = { subject: 'user:zhao', role: Role.EDITOR, groups: ['nurses'] };
  await expect(
    access.explainRight({ ...ask, ...nurse }, as('user:x', Role.EDITOR, ['nurses'])),
  ).rejects.toMatchObject(denied);
  const explained = await access.explainRight({ ...ask, ...nurse }, li);
  expect(explained).toMatchObject({ allowed: false, right: PromptRight.INVOKER });
  expect(explained.reasons).toEqual([
    'folders/explained is restricted: grants alone count',
    'the role editor does not count',
    'group:nurses was given invoker on folders/explained/deep',
    'has invoker, which does not reach editor',
  ]);
  expect(await access.explainRight(ask, admin)).toMatchObject({ allowed: true, right: PromptRight.OWNER });
});

test('a protected label moves when another has approved, and not before', async (t) => {
  if (!at) return t.skip();
  const name = await make();
  await prompts.setLabel({ name, label: 'production', version: '1.0.0' }, wang);
  await expect(
    access.protectLabel({ target: prompt(name), label: 'production' }, wang),
  ).rejects.toMatchObject(denied);
  const approvers = ['user:chief', 'group:board'];
  await access.protectLabel({ target: prompt(name), label: 'production', approvers }, li);
  for (const who of [wang, li, admin]) {
    const set = prompts.setLabel({ name, label: 'production', version: '1.1.0' }, who);
    await expect(set).rejects.toMatchObject({
      ...refused,
      reason: 'LABEL_PROTECTED',
      message: expect.stringContaining('RequestLabelMove'),
    });
  }
  // Where it points already nothing moves, and other labels are free.
  await prompts.setLabel({ name, label: 'production', version: '1.0.0' }, wang);
  await prompts.setLabel({ name, label: 'staging', version: '1.1.0' }, wang);

  const ask = { name, label: 'production', version: '1.1.0', reason: '评测更好' };
  const unprotected = access.requestLabelMove({ ...ask, label: 'staging', version: '1.0.0' }, wang);
  await expect(unprotected).rejects.toMatchObject({ ...refused, reason: 'LABEL_NOT_PROTECTED' });
  const { move } = await access.requestLabelMove(ask, wang);
  expect(move).toMatchObject({ fromVersion: '1.0.0', toVersion: '1.1.0', state: LabelMoveState.PENDING });
  await expect(access.requestLabelMove(ask, li)).rejects.toMatchObject({ code: status.ALREADY_EXISTS });
  const decide = (who: typeof li, approve = true, id = move!.id) =>
    access.decideLabelMove({ id, approve, reason: '好' }, who);
  await expect(decide(wang)).rejects.toMatchObject({ ...denied, reason: 'SECOND_PERSON_NEEDED' });
  await expect(decide(as('user:zhao'))).rejects.toMatchObject({ ...denied, reason: 'NO_APPROVER' });
  expect(await labels(name)).toEqual({ production: '1.0.0', staging: '1.1.0' });
  const done = await decide(as('user:zhao', Role.INVOKER, ['board']));
  expect(done.move).toMatchObject({
    state: LabelMoveState.APPLIED,
    decisions: [{ author: 'user:zhao', approve: true, reason: '好' }],
  });
  expect(await labels(name)).toEqual({ production: '1.1.0', staging: '1.1.0' });
  await expect(decide(li)).rejects.toMatchObject({ ...refused, message: expect.stringContaining('applied') });

  // An approval holds for what was asked, not for what has come of it since.
  const [a, b] = [
    await access.requestLabelMove({ ...ask, version: '1.2.0' }, wang),
    await access.requestLabelMove({ ...ask, version: '1.0.0' }, wang),
  ];
  await decide(li, true, a.move!.id);
  await expect(decide(li, true, b.move!.id)).rejects.toMatchObject({
    ...refused,
    message: expect.stringContaining('has moved since'),
  });
  const c = await access.requestLabelMove({ ...ask, version: '1.0.0' }, wang);
  await decide(as('user:chief', Role.INVOKER), false, c.move!.id);
  const d = await access.requestLabelMove({ ...ask, version: '1.0.0' }, wang);
  await expect(access.withdrawLabelMove({ id: d.move!.id }, as('user:zhao'))).rejects.toMatchObject(denied);
  await access.withdrawLabelMove({ id: d.move!.id }, wang);
  const short = { ...ask, version: '1.0.0', expireAfter: { seconds: 1n } };
  const e = await access.requestLabelMove(short, wang);
  await delay(Number(e.move!.expireTime!.seconds) * 1000 + e.move!.expireTime!.nanos / 1e6 - Date.now() + 5);
  await expect(decide(li, true, e.move!.id)).rejects.toMatchObject({
    ...refused,
    reason: 'LABEL_MOVE_EXPIRED',
  });
  const states = async (state = LabelMoveState.UNSPECIFIED) =>
    (await access.listLabelMoves({ name, state }, wang)).moves.map((row) => LabelMoveState[row.state]);
  expect(await states()).toEqual(['EXPIRED', 'WITHDRAWN', 'REJECTED', 'SUPERSEDED', 'APPLIED', 'APPLIED']);
  expect(await states(LabelMoveState.EXPIRED)).toEqual(['EXPIRED']);
  expect(await states(LabelMoveState.PENDING)).toEqual([]);

  const { entries } = await access.listLabelHistory({ name, label: 'production' }, wang);
  expect(
    entries.map(({ revision, fromVersion, toVersion, kind, author }) => ({
      ...{ revision, fromVersion, toVersion, kind, author },
    })),
  ).toEqual([
    {
      revision: 3n,
      fromVersion: '1.1.0',
      toVersion: '1.2.0',
      kind: LabelMoveKind.APPROVED,
      author: 'user:li',
    },
    {
      revision: 2n,
      fromVersion: '1.0.0',
      toVersion: '1.1.0',
      kind: LabelMoveKind.APPROVED,
      author: 'user:zhao',
    },
    { revision: 1n, fromVersion: '', toVersion: '1.0.0', kind: LabelMoveKind.SET, author: 'user:wang' },
  ]);
  const told = async () =>
    (await eventsOf('landfall.prompt.move.changed.v1', (event) => event.name === name)).map((e) => e.state);
  await expect
    .poll(told, { timeout: 10_000 })
    .toEqual([
      ...['pending', 'applied', 'pending', 'pending', 'superseded', 'applied'],
      ...['pending', 'rejected', 'pending', 'withdrawn', 'pending'],
    ]);
});

test('the most demanding protection counts, several people approve, and less takes an administrator', async (t) => {
  if (!at) return t.skip();
  const place = `guarded-${randomUUID()}`;
  const name = await make(place);
  const label = 'production';
  await access.protectLabel({ target: folder(place), label, approvals: 2 }, admin);
  // Who owns the prompt demands no less than its folder does.
  const own = { target: prompt(name), label };
  await access.protectLabel(own, li);
  await expect(access.protectLabel({ ...own, approvers: ['user:friend'] }, li)).rejects.toMatchObject({
    ...denied,
    reason: 'PROTECTION_LOOSENED',
  });
  await expect(access.movePrompt({ name, folder: '' }, li)).rejects.toMatchObject(denied);
  await access.protectLabel({ ...own, approvals: 3 }, li);
  await expect(access.protectLabel({ ...own, approvals: 2 }, li)).rejects.toMatchObject(denied);
  await expect(access.unprotectLabel(own, li)).rejects.toMatchObject(denied);
  expect((await access.listProtections({ target: prompt(name) }, wang)).protections).toMatchObject([
    { target: prompt(name), approvals: 3 },
    { target: folder(place), approvals: 2 },
  ]);
  const { move } = await access.requestLabelMove({ name, label, version: '1.0.0' }, wang);
  expect(move!.approvalsNeeded).toBe(3);
  expect(await access.unprotectLabel(own, admin)).toMatchObject({ removed: true });
  const approve = (who: typeof li) => access.decideLabelMove({ id: move!.id, approve: true }, who);
  expect((await approve(li)).move).toMatchObject({ state: LabelMoveState.PENDING, approvalsNeeded: 2 });
  // The same person twice is one.
  expect((await approve(li)).move!.state).toBe(LabelMoveState.PENDING);
  expect((await approve(admin)).move!.state).toBe(LabelMoveState.APPLIED);
  expect(await access.movePrompt({ name, folder: '' }, admin)).toMatchObject({ fromFolder: place });
  await prompts.setLabel({ name, label, version: '1.1.0' }, wang);
});

test('undo leads back step by step, and protected labels only where their protection lets owners', async (t) => {
  if (!at) return t.skip();
  const name = await make();
  const label = 'live';
  const undo = (who = wang, revision = 0n) => access.undoLabelMove({ name, label, revision }, who);
  await expect(undo()).rejects.toMatchObject(refused);
  for (const version of ['1.0.0', '1.1.0', '1.2.0']) await prompts.setLabel({ name, label, version }, wang);
  await expect(undo(wang, 2n)).rejects.toMatchObject({ code: status.ABORTED });
  expect((await undo(wang, 3n)).entry).toMatchObject({ toVersion: '1.1.0', revision: 4n, undoes: 3n });
  expect((await undo()).entry).toMatchObject({ toVersion: '1.0.0', revision: 5n, undoes: 2n });
  await expect(undo()).rejects.toMatchObject({ ...refused, reason: 'NOTHING_TO_UNDO' });
  await prompts.setLabel({ name, label, version: '1.2.0' }, wang);
  const requestId = randomUUID();
  const first = await access.undoLabelMove({ requestId, name, label }, wang);
  expect(first.entry).toMatchObject({ toVersion: '1.0.0', undoes: 6n });
  expect(await access.undoLabelMove({ requestId, name, label }, wang)).toEqual(first);
  await prompts.setLabel({ name, label, version: '1.1.0' }, wang);
  await access.protectLabel({ target: prompt(name), label }, li);
  await expect(undo(li)).rejects.toMatchObject({ ...refused, reason: 'LABEL_PROTECTED' });
  await access.protectLabel({ target: prompt(name), label, ownerMayUndo: true }, admin);
  await expect(undo(wang)).rejects.toMatchObject(refused);
  expect((await undo(li)).entry).toMatchObject({ toVersion: '1.0.0', kind: LabelMoveKind.UNDONE });
});

test('changes and refusals are on record, in order, and the record can only be added to', async (t) => {
  if (!at) return t.skip();
  const name = await make();
  const first = (await prompts.getPrompt({ name, version: '1.0.0' }, li)).version!;
  await prompts.setLabel({ name, label: 'production', version: '1.0.0' }, li);
  await access.protectLabel({ target: prompt(name), label: 'production' }, li);
  const gate = { metric: 'exact_match', testSet: 'tests:/triage', minimum: 0.9 };
  await at.evaluations.setGates({ name, label: 'production', gates: [gate] }, li);
  await expect(prompts.setLabel({ name, label: 'production', version: '1.1.0' }, li)).rejects.toThrow();
  await expect(access.restrictAccess({ target: prompt(name), restricted: true }, wang)).rejects.toThrow();
  await access.restrictAccess({ target: prompt(name), restricted: true }, li);
  for (let i = 0; i < 2; i++) await prompts.getPrompt({ name }, admin);
  const search = (request: Parameters<typeof access.searchPromptAudit>[0], who = admin) =>
    access.searchPromptAudit({ target: `prompts/${name}`, ...request }, who);
  const { records } = await search({});
  expect(
    records.toReversed().map((r) => [r.subject, r.action, r.item, r.outcome, r.before, r.after].join(' ')),
  ).toEqual([
    'user:li version.created 1.0.0 OK  1.0.0',
    'user:li version.created 1.1.0 OK  1.1.0',
    'user:li version.created 1.2.0 OK  1.2.0',
    'user:li label.moved production OK  1.0.0',
    'user:li label.protected production OK  1 of owners',
    'user:li gates.set production OK  exact_match on tests:/triage, at least 0.9',
    'user:li label.moved production FAILED_PRECONDITION  1.1.0',
    'user:wang access.restricted  PERMISSION_DENIED  ',
    'user:li access.restricted  OK  ',
    `user:admin access.overridden  OK prompts/${name} `,
  ]);
  expect(records.at(-4)!.afterDigest).toBe(first.digest);
  await expect(search({}, li)).rejects.toMatchObject(denied);
  const foreign = { identity: { ...admin.identity, tenant: 'other' } };
  expect((await search({}, foreign)).records).toEqual([]);
  const moves = await search({ action: 'label.moved', subject: 'user:li', pageSize: 1 });
  expect(moves.records.map((r) => r.outcome)).toEqual(['FAILED_PRECONDITION']);
  const { records: rest } = await search({ action: 'label.moved', pageToken: moves.nextPageToken });
  expect(rest.map((r) => r.outcome)).toEqual(['OK']);
  const from = records[3]!.time!;
  expect((await search({ startTime: from })).records.length).toBeGreaterThanOrEqual(4);
  expect((await search({ endTime: records.at(-1)!.time! })).records).toEqual([]);
  for (const table of ['prompt_audit', 'prompt_label_history']) {
    for (const sql of [`delete from ${table}`, `update ${table} set author_or_subject = 'x'`]) {
      const column = table === 'prompt_audit' ? 'subject' : 'author';
      await expect(at.sql(sql.replace('author_or_subject', column))).rejects.toThrow('can only be added to');
    }
  }
});
