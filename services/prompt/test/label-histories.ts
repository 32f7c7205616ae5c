/** What a prompt's labels and versions look like from outside, and the rules that no course of events may break. */

import { Broker, EVENT_STREAM } from '@landfall/common/events/broker.ts';
import type { Identity } from '@landfall/common/identity/identity.ts';
import { createLogger } from '@landfall/common/log/logger.ts';
import {
  type LabelHistoryEntry,
  type LabelMove,
  LabelMoveKind,
  LabelMoveState,
} from '@landfall/proto/landfall/prompt/v1/access_pb.js';
import semver from 'semver';
import { expect } from 'vitest';
import type { Stage } from './stage.ts';

/** An event of a prompt, as any subscriber sees it. */
export interface SeenEvent {
  subject: string;
  payload: Record<string, unknown>;
}

/** Every event of prompts from now on, in the order of the stream. */
export async function follow(natsUrl: string) {
  const broker = await Broker.connect(natsUrl, 'follower', createLogger('test', 'silent'));
  const events: SeenEvent[] = [];
  const consumer = await broker.js.consumers.get(EVENT_STREAM, { filter_subjects: 'landfall.prompt.>' });
  const messages = await consumer.consume();
  const reading = (async () => {
    for await (const message of messages) {
      events.push({ subject: message.subject, payload: message.json<Record<string, unknown>>() });
    }
  })();
  return {
    events,
    async [Symbol.asyncDispose]() {
      await messages.close();
      await reading;
      await broker[Symbol.asyncDispose]();
    },
  };
}

/** What was read of a version when it was made. */
export interface MadeVersion {
  version: string;
  digest: string;
  text: string;
}

const all = async <T>(page: (pageToken: string) => Promise<{ rows: T[]; nextPageToken: string }>) => {
  const rows: T[] = [];
  let token = '';
  do {
    const next = await page(token);
    rows.push(...next.rows);
    token = next.nextPageToken;
  } while (token);
  return rows;
};

export const movesOf = ({ access }: Pick<Stage, 'access'>, name: string, identity: Identity) =>
  all<LabelMove>(async (pageToken) => {
    const reply = await access.listLabelMoves({ name, pageToken }, { identity });
    return { rows: reply.moves, nextPageToken: reply.nextPageToken };
  });

/** Oldest first. */
export const historyOf = async (
  { access }: Pick<Stage, 'access'>,
  name: string,
  label: string,
  identity: Identity,
) => {
  const entries = await all<LabelHistoryEntry>(async (pageToken) => {
    const reply = await access.listLabelHistory({ name, label, pageToken, pageSize: 7 }, { identity });
    return { rows: reply.entries, nextPageToken: reply.nextPageToken };
  });
  return entries.reverse();
};

/** Versions are what they were when they were made, each once, and every one that was made is there. */
export async function checkImmutable(
  { prompts }: Pick<Stage, 'prompts'>,
  name: string,
  made: readonly MadeVersion[],
  identity: Identity,
): Promise<void> {
  for (const { version, digest, text } of made) {
    const read = (await prompts.getPrompt({ name, version }, { identity })).version!;
    expect({ digest: read.digest, text: read.messages[0]!.template }).toEqual({ digest, text });
  }
  expect(new Set(made.map(({ version }) => version)).size).toBe(made.length);
}

/** A history without gaps, in which every move begins where the one before it ended and each undoing fits its move. */
export function checkHistory(history: readonly LabelHistoryEntry[]): void {
  const undone = new Set<bigint>();
  for (const [i, entry] of history.entries()) {
    expect(entry.revision).toBe(BigInt(i + 1));
    expect(entry.fromVersion).toBe(history[i - 1]?.toVersion ?? '');
    expect(entry.toVersion).not.toBe(entry.fromVersion);
    expect(entry.undoes > 0n).toBe(entry.kind === LabelMoveKind.UNDONE);
    if (entry.undoes === 0n) continue;
    const target = history[Number(entry.undoes) - 1]!;
    expect(target.kind).not.toBe(LabelMoveKind.UNDONE);
    expect(undone.has(target.revision)).toBe(false);
    undone.add(target.revision);
    expect({ from: entry.fromVersion, to: entry.toVersion }).toEqual({
      from: target.toVersion,
      to: target.fromVersion,
    });
    // It was the last that had not been undone.
    const later = history.slice(Number(entry.undoes), i).filter((one) => one.undoes === 0n);
    expect(later.every((one) => undone.has(one.revision))).toBe(true);
  }
}

/** Every move by approval has its request, approved by as many others as it took, and the other way round. */
export function checkApprovals(history: readonly LabelHistoryEntry[], moves: readonly LabelMove[]): void {
  const applied = new Map(
    moves.filter((move) => move.state === LabelMoveState.APPLIED).map((m) => [m.id, m]),
  );
  const approved = history.filter((entry) => entry.kind === LabelMoveKind.APPROVED);
  expect(approved.map((entry) => entry.moveId).sort()).toEqual([...applied.keys()].sort());
  for (const entry of approved) {
    const move = applied.get(entry.moveId)!;
    const others = move.decisions.filter((one) => one.approve && one.author !== move.author);
    expect(others.length).toBeGreaterThanOrEqual(move.approvalsNeeded);
    expect({ from: entry.fromVersion, to: entry.toVersion }).toEqual({
      from: move.fromVersion,
      to: move.toVersion,
    });
  }
  const now = history.at(-1)?.toVersion ?? '';
  for (const move of moves) {
    if (move.state === LabelMoveState.PENDING) expect(move.fromVersion).toBe(now);
    const lasts = move.decisions.length === new Set(move.decisions.map((one) => one.author)).size;
    expect(lasts).toBe(true);
  }
}

/** Events of a label are its history, one each and in order. */
export function checkEvents(
  events: readonly SeenEvent[],
  name: string,
  label: string,
  history: readonly LabelHistoryEntry[],
): void {
  const moved = events.filter(
    ({ subject, payload }) =>
      subject === 'landfall.prompt.label.moved.v1' && payload.name === name && payload.label === label,
  );
  expect(
    moved.map(({ payload }) => [payload.revision, payload.fromVersion, payload.toVersion].join(' ')),
  ).toEqual(history.map((entry) => [entry.revision, entry.fromVersion, entry.toVersion].join(' ')));
}

/** Versions are announced once each, in the order in which they were made. */
export function checkVersionEvents(
  events: readonly SeenEvent[],
  name: string,
  made: readonly MadeVersion[],
): void {
  const told = events
    .filter(
      ({ subject, payload }) => subject === 'landfall.prompt.version.created.v1' && payload.name === name,
    )
    .map(({ payload }) => payload.version as string);
  expect(told).toEqual(made.map(({ version }) => version).sort(semver.compare));
}
