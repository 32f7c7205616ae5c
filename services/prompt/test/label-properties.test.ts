import { randomUUID } from 'node:crypto';
import { status } from '@grpc/grpc-js';
import { LandfallError } from '@landfall/common/errors/errors.ts';
import { Role } from '@landfall/proto/landfall/mesh/v1/options_pb.js';
import {
  type LabelMove,
  LabelMoveKind,
  LabelMoveState,
} from '@landfall/proto/landfall/prompt/v1/access_pb.js';
import fc from 'fast-check';
import { afterAll, beforeAll, expect, test } from 'vitest';
import {
  checkApprovals,
  checkEvents,
  checkHistory,
  checkImmutable,
  checkVersionEvents,
  follow,
  historyOf,
  type MadeVersion,
  movesOf,
} from './label-histories.ts';
import { type Stage, stage } from './stage.ts';

const seed = Number(process.env.LANDFALL_TEST_SEED ?? Math.floor(Math.random() * 2 ** 31));
console.info(`labels: LANDFALL_TEST_SEED=${seed}`);

let at: Stage | undefined;
/** The service, and where the database takes it a second one beside it. */
let services: Pick<Stage, 'prompts' | 'access'>[];
let seen: Awaited<ReturnType<typeof follow>>;

beforeAll(async () => {
  at = await stage({});
  if (!at) return;
  const peer = await at.peer();
  services = peer ? [at, peer] : [at];
  seen = await follow(at.natsUrl);
});
afterAll(async () => {
  await seen?.[Symbol.asyncDispose]();
  await at?.[Symbol.asyncDispose]();
});

const tenant = 'acme';
const people = ['user:li', 'user:wang', 'user:zhao'].map((subject) => ({
  subject,
  tenant,
  role: Role.EDITOR,
}));
const [li] = people as [(typeof people)[number]];
const admin = { subject: 'user:admin', tenant, role: Role.ADMIN };
const everybody = [...people, admin];
/** Never protected; protected from the beginning; protected now and then. */
const LABELS = ['free', 'production', 'staging'] as const;

/** What people do; numbers choose among what there is at that moment. */
const moving = { who: fc.nat(3), label: fc.constantFrom(...LABELS), version: fc.nat(6) };
const action = fc.oneof(
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('version' as const), who: fc.nat(2) }) },
  { weight: 4, arbitrary: fc.record({ kind: fc.constant('set' as const), ...moving }) },
  { weight: 4, arbitrary: fc.record({ kind: fc.constant('request' as const), ...moving }) },
  {
    weight: 6,
    arbitrary: fc.record({
      ...{ kind: fc.constant('decide' as const), who: fc.nat(3), move: fc.nat(3), approve: fc.nat(2) },
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ kind: fc.constant('withdraw' as const), who: fc.nat(3), move: fc.nat(3) }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      ...{ kind: fc.constant('undo' as const), who: fc.nat(3), label: fc.constantFrom(...LABELS) },
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ kind: fc.constantFrom('protect' as const, 'unprotect' as const) }),
  },
);
type Action = typeof action extends fc.Arbitrary<infer A> ? A : never;

/** The same call may come twice at once, as clients repeat them. */
const step = fc.record({ action, twice: fc.boolean() });
/** Steps of one round run at the same time. */
const course = fc.array(fc.array(step, { minLength: 2, maxLength: 6, size: 'max' }), {
  ...{ minLength: 4, maxLength: 9, size: 'max' as const },
});

/** Answers that a course of events can lead to; anything else is a fault. */
const ANSWERS: ReadonlySet<status> = new Set([
  status.ALREADY_EXISTS,
  status.FAILED_PRECONDITION,
  status.PERMISSION_DENIED,
  status.NOT_FOUND,
  status.ABORTED,
]);

class Course {
  readonly name = `p-${randomUUID()}`;
  readonly made: MadeVersion[] = [];
  #moves: string[] = [];
  #count = 0;

  async begin(): Promise<void> {
    const { prompts, access } = services[0]!;
    const { name } = this;
    for (const text of ['first', 'second', 'third']) {
      const draft = { messages: [{ role: 'user', template: text }] };
      const ask = { name, draft };
      const { version } =
        text === 'first'
          ? await prompts.createPrompt(ask, { identity: li })
          : await prompts.createVersion(ask, { identity: li });
      this.made.push({ version: version!.version, digest: version!.digest, text });
    }
    await access.protectLabel({ target: this.#target, label: 'production' }, { identity: li });
  }

  /** Does all steps of a round at once, each through any of the services. */
  async round(steps: readonly { action: Action; twice: boolean }[]): Promise<void> {
    const running = steps.flatMap(({ action, twice }) => {
      const call = this.#call(action, randomUUID());
      return (twice ? [0, 1] : [0]).map((i) => call(services[(this.#count++ + i) % services.length]!));
    });
    for (const result of await Promise.allSettled(running)) {
      if (result.status === 'fulfilled') continue;
      const { reason } = result as { reason: unknown };
      if (!(reason instanceof LandfallError && ANSWERS.has(reason.code))) throw reason;
    }
    const moves = await movesOf(services[0]!, this.name, admin);
    const waits = (move: LabelMove) => move.state === LabelMoveState.PENDING;
    this.#moves = [...moves.filter(waits), ...moves.filter((move) => !waits(move))].map((move) => move.id);
  }

  get #target() {
    return { target: { case: 'prompt' as const, value: this.name } };
  }

  /** @returns a call whose repeats are the same call */
  #call(action: Action, requestId: string): (service: Pick<Stage, 'prompts' | 'access'>) => Promise<unknown> {
    const { name } = this;
    const who = 'who' in action ? { identity: everybody[action.who]! } : { identity: admin };
    const id = 'move' in action ? (this.#moves[action.move] ?? randomUUID()) : '';
    switch (action.kind) {
      case 'version': {
        const text = `text ${this.#count}`;
        const draft = { messages: [{ role: 'user', template: text }] };
        return async ({ prompts }) => {
          const { version } = await prompts.createVersion({ requestId, name, draft }, who);
          const known = this.made.find((one) => one.version === version!.version);
          // A repeat gets the version that the first made, and nobody else does.
          if (known) expect(known.text).toBe(text);
          else this.made.push({ version: version!.version, digest: version!.digest, text });
        };
      }
      case 'set':
      case 'request': {
        const { version } = this.made[action.version % this.made.length]!;
        const ask = { requestId, name, label: action.label, version };
        return ({ prompts, access }) =>
          action.kind === 'set' ? prompts.setLabel(ask, who) : access.requestLabelMove(ask, who);
      }
      case 'decide':
        return ({ access }) => access.decideLabelMove({ requestId, id, approve: action.approve > 0 }, who);
      case 'withdraw':
        return ({ access }) => access.withdrawLabelMove({ requestId, id }, who);
      case 'undo':
        return ({ access }) => access.undoLabelMove({ requestId, name, label: action.label }, who);
      case 'protect':
        return ({ access }) =>
          access.protectLabel({ requestId, target: this.#target, label: 'staging', ownerMayUndo: true }, who);
      case 'unprotect':
        return ({ access }) =>
          access.unprotectLabel({ requestId, target: this.#target, label: 'staging' }, who);
    }
  }
}

/** Waits until as many events of a prompt as there are have arrived, and no longer than a broker needs. */
async function arrived(name: string, subject: string, count: number): Promise<void> {
  const told = () => seen.events.filter((one) => one.subject === subject && one.payload.name === name).length;
  await expect.poll(told, { timeout: 10_000, interval: 10 }).toBeGreaterThanOrEqual(count);
}

/** Checks everything. @returns what has happened, for the tally */
async function checkAll(course: Course): Promise<string[]> {
  const { name, made } = course;
  const [service] = services as [Stage];
  await checkImmutable(service, name, made, admin);
  const { prompt } = await service.prompts.getPrompt({ name }, { identity: admin });
  const holders = await Promise.all(
    made.map(async ({ version }) => {
      const read = await service.prompts.getPrompt({ name, version }, { identity: admin });
      return read.version!.labels.map((label) => [label, version] as const);
    }),
  );
  // A label is held by one version, and the prompt and the versions agree by which.
  expect(holders.flat().length).toBe(new Set(holders.flat().map(([label]) => label)).size);
  expect(Object.fromEntries(holders.flat())).toEqual(prompt!.labels);
  const moves = await movesOf(service, name, admin);
  const histories = new Map(
    await Promise.all(
      LABELS.map(async (label) => [label, await historyOf(service, name, label, admin)] as const),
    ),
  );
  const count = [...histories.values()].reduce((sum, history) => sum + history.length, 0);
  await arrived(name, 'landfall.prompt.label.moved.v1', count);
  await arrived(name, 'landfall.prompt.version.created.v1', made.length);
  for (const [label, history] of histories) {
    checkHistory(history);
    const of = moves.filter((move) => move.label === label);
    checkApprovals(history, of);
    checkEvents(seen.events, name, label, history);
    expect(prompt!.labels[label] ?? '').toBe(history.at(-1)?.toVersion ?? '');
  }
  checkVersionEvents(seen.events, name, made);
  expect(histories.get('production')!.every(({ kind }) => kind === LabelMoveKind.APPROVED)).toBe(true);
  const search = { target: `prompts/${name}`, action: 'label.moved', pageSize: 500 };
  const { records } = await service.access.searchPromptAudit(search, { identity: admin });
  expect(records.filter((one) => one.outcome === 'OK').length).toBe(count);
  return [
    ...[...histories.values()].flat().map((entry) => LabelMoveKind[entry.kind]),
    ...moves.map((move) => LabelMoveState[move.state]),
  ];
}

test('no course of label moves, approvals, undoing and versions breaks immutability, single holders or the order of events', async (t) => {
  if (!at) return t.skip();
  const tally = new Map<string, number>();
  await fc.assert(
    fc.asyncProperty(course, async (rounds) => {
      const one = new Course();
      await one.begin();
      for (const round of rounds) await one.round(round);
      for (const what of await checkAll(one)) tally.set(what, (tally.get(what) ?? 0) + 1);
    }),
    { seed, numRuns: 12 },
  );
  // A test in which nothing happens could not fail.
  for (const what of ['SET']) expect([...tally.keys()], `seed ${seed}`).toContain(what);
  console.info(`labels: ${[...tally].map(([what, count]) => `${what} ${count}`).join(', ')}`);
}, 120_000);
