import { randomUUID } from 'node:crypto';
import { create, type DescMethod, getOption } from '@bufbuild/protobuf';
import { status } from '@grpc/grpc-js';
import { LandfallError } from '@landfall/common/errors/errors.ts';
import { type Identity, roleReaches } from '@landfall/common/identity/identity.ts';
import { Role, role as roleOption } from '@landfall/proto/landfall/mesh/v1/options_pb.js';
import { PromptRight, right as rightOption } from '@landfall/proto/landfall/prompt/v1/access_pb.js';
import { PromptExperimentService } from '@landfall/proto/landfall/prompt/v1/experiment_service_pb.js';
import { FinishReason } from '@landfall/proto/landfall/text/v1/generation_pb.js';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { levelOfRole, RIGHTS, type Right } from '../src/domain/standing.ts';
import { reflectedMethods } from './reflected.ts';
import { type Expectation, expectations, type Place } from './rights-expectations.ts';
import { invoked, type Stage, stage } from './stage.ts';

const tenant = 'acme';
const maker: Identity = { subject: 'user:maker', tenant, role: Role.ADMIN };
const asker = { subject: 'user:asker', tenant, role: Role.ADMIN };

let at: Stage | undefined;
let methods: DescMethod[];
/** Roles count in the first; in the second grants alone. */
let open: Place;
let restricted: Place;

async function* generate() {
  yield { delta: 'x', model: 'models:/qa/1.0.0' };
  yield { finishReason: FinishReason.STOP };
}

beforeAll(async () => {
  at = await stage({ qa: generate });
  if (!at) return;
  methods = await reflectedMethods(at.channel, 'landfall.prompt.v1.');
  open = await place('open');
  restricted = await place('restricted');
  const target = { target: { case: 'folder' as const, value: restricted.folder } };
  await at.access.restrictAccess({ target, restricted: true }, { identity: maker });
  for (const right of RIGHTS.slice(1)) {
    const given = PromptRight[right.toUpperCase() as 'VIEWER'];
    for (const folder of [open.folder, restricted.folder]) {
      await at.access.grantRight(
        { target: { target: { case: 'folder', value: folder } }, grantee: `group:${right}`, right: given },
        { identity: maker },
      );
    }
  }
}, 60_000);
afterAll(() => at?.[Symbol.asyncDispose]());

async function place(folder: string): Promise<Place> {
  const { prompts, access, drafts, evaluations, channel } = at!;
  const as = { identity: maker };
  const name = `${folder}-${randomUUID()}`;
  const draft = (template: string) => ({ messages: [{ role: 'user', template }] });
  await prompts.createPrompt({ name, folder, draft: draft('a') }, as);
  await prompts.createVersion({ name, draft: draft('b') }, as);
  await prompts.setLabel({ name, label: 'free', version: '1.0.0' }, as);
  const target = { target: { case: 'prompt' as const, value: name } };
  await access.protectLabel({ target, label: 'production' }, as);
  const ask = { name, label: 'production', version: '1.0.0' };
  const { move } = await access.requestLabelMove(ask, { identity: asker });
  await drafts.saveDraft({ prompt: name, draftName: 'begun', draft: draft('c') }, as);
  const { invocation } = await invoked(at!, { name, deployment: 'qa' });
  const testSet = `t-${name}`;
  await evaluations.createTestSet(
    { name: testSet, source: { case: 'jsonLines', value: '{"expected":"x"}' } },
    as,
  );
  const started = await prompts.evaluatePrompt(
    { name, dataset: `tests:/${testSet}`, deployment: 'qa', startOnly: true },
    as,
  );
  const optimization = randomUUID();
  await at!.sql(`insert into prompt_job (id, tenant, kind, name, version, state, content, test_set, test_set_digest,
    author, failure, owner, lease_ms, created_ms, revision)
    values ('${optimization}', '${tenant}', 'optimization', '${name}', '1.0.0', 'succeeded', '{}', '', '', '', '', '', 0, 0, 1)`);
  const experiments = channel.client(PromptExperimentService);
  const arms = ['1.0.0', '1.1.0'].map((version) => ({ version, weight: 1 }));
  const goal = { kind: { case: 'errorRate' as const, value: true } };
  const { experiment } = await experiments.startExperiment({ name, label: 'free', arms, goal }, as);
  return {
    ...{ folder, prompt: name, testSet, move: move!.id, invocation: invocation.id, optimization },
    ...{ evaluation: started.evaluation!.id, experiment: experiment!.id },
  };
}

interface Actor {
  who: string;
  identity: Identity;
  grant: number;
}

const ROLES = [Role.UNSPECIFIED, Role.VIEWER, Role.INVOKER, Role.EDITOR, Role.ADMIN];
const actors: Actor[] = [
  ...ROLES.flatMap((role) =>
    RIGHTS.map((right, grant) => ({
      ...{ who: `${Role[role]} with ${right}`, grant },
      identity: {
        ...{ subject: `user:${Role[role]}-${right}`.toLowerCase(), tenant, role },
        groups: grant > 0 ? [right] : [],
      },
    })),
  ),
  // The same names, rights and groups in another tenant are nobody here.
  ...ROLES.map((role) => ({
    ...{ who: `${Role[role]} of another tenant`, grant: 0 },
    identity: { subject: 'user:maker', tenant: 'other', role, groups: ['owner'] },
  })),
];

type Answer = 'denied' | 'hidden' | 'allowed';

/** What the declared role and the grants say. */
function expected(
  method: DescMethod,
  { right, isFolder, names }: Expectation,
  place: Place,
  actor: Actor,
): Answer {
  const { identity, grant } = actor;
  if (!roleReaches(identity.role, getOption(method, roleOption))) return 'denied';
  const isForeign = identity.tenant !== tenant;
  if (right === 'role' || names) return 'allowed';
  if (right === 'tenant') return isForeign ? 'hidden' : 'allowed';
  // A folder of that name in their own tenant, which nobody has restricted.
  if (isForeign && !isFolder) return 'hidden';
  const level = isForeign ? levelOfRole(identity.role) : levelAt(place, identity.role, grant);
  if (level === 0 && !isFolder) return 'hidden';
  return level < RIGHTS.indexOf(right) ? 'denied' : 'allowed';
}

const levelAt = (place: Place, role: Role, grant: number) =>
  place === restricted && role !== Role.ADMIN ? grant : Math.max(grant, levelOfRole(role));

/** Calls, and reads one message of a stream. @returns the code; OK with the reply */
async function call(method: DescMethod, request: Record<string, unknown>, { identity }: Actor) {
  const message = create(method.input, request);
  try {
    if (method.methodKind === 'unary') {
      return { code: status.OK, reply: await at!.channel.unary(method, message, { identity }) };
    }
    for await (const reply of at!.channel.serverStream(method, message, { identity })) {
      return { code: status.OK, reply };
    }
    return { code: status.OK };
  } catch (cause) {
    if (cause instanceof LandfallError) return { code: cause.code, message: cause.message };
    throw cause;
  }
}

function answerOf(code: status): Answer | 'fault' | 'not offered' {
  if (code === status.PERMISSION_DENIED || code === status.UNAUTHENTICATED) return 'denied';
  if (code === status.NOT_FOUND) return 'hidden';
  if (code === status.UNIMPLEMENTED) return 'not offered';
  const faults = [status.INTERNAL, status.UNKNOWN, status.UNAVAILABLE, status.DEADLINE_EXCEEDED];
  return faults.includes(code) ? 'fault' : 'allowed';
}

// A new method fails here until it stands in rights-expectations.ts, and below until its answers are those.
test('every method of the prompt service declares a role and has an expectation, and there are none for others', (t) => {
  if (!at) return t.skip();
  const offered = methods.map((method) => `${method.parent.typeName}/${method.name}`).sort();
  const expectedOnes = Object.entries(expectations).flatMap(([service, of]) =>
    Object.keys(of).map((name) => `${service}/${name}`),
  );
  expect(offered).toEqual(expectedOnes.sort());
  for (const method of methods) {
    expect(getOption(method, roleOption), method.name).not.toBe(Role.UNSPECIFIED);
    expect(getOption(method, roleOption), method.name).not.toBe(Role.PUBLIC);
    // The right of the contract, which explanations go by, is the one that the matrix below holds the answers to.
    const { right } = expectations[method.parent.typeName]![method.name]!;
    const declared = getOption(method, rightOption);
    expect([method.name, declared]).toEqual([method.name, Math.max(0, RIGHTS.indexOf(right as Right))]);
  }
});

test('each method answers each role, right and tenant as declared: nothing is allowed that should not be', async (t) => {
  if (!at) return t.skip();
  const wrong: string[] = [];
  const tally = new Map<string, number>();
  for (const method of methods) {
    const expectation = expectations[method.parent.typeName]?.[method.name];
    if (!expectation) continue;
    for (const place of [open, restricted]) {
      const check = async (actor: Actor) => {
        const wanted = expected(method, expectation, place, actor);
        const { code, reply, message } = await call(method, expectation.request(place), actor);
        const got = answerOf(code);
        tally.set(got, (tally.get(got) ?? 0) + 1);
        const cell = `${method.name} at ${place.folder} by ${actor.who}`;
        // One that is declared and not offered yet has a role and nothing behind it.
        const reaches = roleReaches(actor.identity.role, getOption(method, roleOption));
        if (got === 'not offered' && reaches) return;
        if (got !== wanted)
          wrong.push(`${cell}: ${got} instead of ${wanted} (${status[code]} ${message ?? ''})`);
        if (!expectation.names || !reply) return;
        const isSeen = expectation.names(reply).includes(place.prompt);
        const sees = actor.identity.tenant === tenant && levelAt(place, actor.identity.role, actor.grant) > 0;
        if (isSeen !== sees) wrong.push(`${cell}: is ${isSeen ? '' : 'not '}in the list`);
      };
      await Promise.all(actors.map(check));
    }
  }
  console.info(`rights: ${[...tally].map(([answer, count]) => `${answer} ${count}`).join(', ')}`);
  expect(wrong).toEqual([]);
}, 120_000);
