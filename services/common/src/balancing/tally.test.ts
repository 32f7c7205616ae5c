import { create } from '@bufbuild/protobuf';
import { EndpointSchema, EndpointState } from '@landfall/proto/landfall/balancer/v1/deployment_pb.js';
import { LoadSchema } from '@landfall/proto/landfall/text/v1/generation_pb.js';
import { expect, test } from 'vitest';
import { EndpointTally } from './tally.ts';

const seen = (more: object) => create(EndpointSchema, { state: EndpointState.READY, weight: 1, ...more });
const tallyOf = (more: object, nowMs = 0) => {
  const tally = new EndpointTally();
  tally.update(seen(more), nowMs);
  return tally;
};

test('failures in a row leave it alone for longer and longer, up to half a minute; an answer ends that', () => {
  const tally = tallyOf({});
  const pauses = Array.from({ length: 10 }, () => {
    tally.eject(0);
    return tally.ejectedUntilMs;
  });
  pauses.forEach((ms, failures) => {
    const full = Math.min(30_000, 500 * 2 ** failures);
    expect(ms).toBeGreaterThanOrEqual(full * 0.75);
    expect(ms).toBeLessThanOrEqual(full * 1.25);
  });
  tally.succeeded(10);
  expect(tally.answers(10)).toBe(true);
});

test('after a failure it is probed by one request at a time until one has been answered', () => {
  const tally = tallyOf({});
  tally.eject(0);
  expect([tally.answers(100), tally.answers(1000)]).toEqual([false, true]);
  expect(tally.isProbed).toBe(false);
  const probe = tally.begin(1000);
  expect(tally.isProbed).toBe(true);
  probe.end();
  expect(tally.isProbed).toBe(false);
  tally.succeeded(1003);
  tally.begin(1003);
  expect(tally.isProbed).toBe(false);
});

test('what was begun before it was left alone tells nothing of it now', () => {
  const tally = tallyOf({});
  const before = tally.begin(0);
  tally.eject(1);
  expect(before.isStale).toBe(true);
  const probe = tally.begin(2000);
  before.end();
  expect(probe.isStale).toBe(false);
  // The end of the older one must not open it for a second probe.
  expect(tally.isProbed).toBe(true);
});

test('requests count from the moment they are sent, and once, whoever tells of them', () => {
  const load = { running: 2, stepMs: 50, maxBatch: 16 };
  const tally = tallyOf({ load }, 500);
  const idle = tally.cost();
  const first = tally.begin(1000);
  const second = tally.begin(1000);
  const both = tally.cost();
  expect(both).toBeGreaterThan(idle);
  first.reported(seen({ load: { ...load, running: 4 } }).load, 1010);
  // The report counts both of them.
  const reported = tally.cost();
  second.reported(undefined, 1011);
  expect(tally.cost()).toBeLessThanOrEqual(reported);
  // What the balancer tells is older than what the replica has told itself.
  tally.update(seen({ load: { ...load, running: 16, queued: 50 } }), 1020);
  expect(tally.cost()).toBeLessThanOrEqual(reported);
  tally.update(seen({ load: { ...load, running: 16, queued: 50 } }), 5000);
  expect(tally.cost()).toBeGreaterThan(2 * reported);
});

test('its cost goes with its step time and against its weight', () => {
  const cost = (more: object, load: object = {}) =>
    tallyOf({ ...more, load: { running: 1, stepMs: 40, maxBatch: 16, ...load } }).cost();
  expect(cost({}, { stepMs: 400 })).toBeCloseTo(10 * cost({}));
  expect(cost({ weight: 2 })).toBeCloseTo(cost({}) / 2);
});

test('it is silent only while a caller listens', () => {
  const tally = tallyOf({});
  expect(tally.silentMs(5000)).toBe(0);
  const passage = tally.begin(1000);
  expect(tally.silentMs(1500)).toBe(500);
  passage.reported(undefined, 1600);
  expect(tally.silentMs(1700)).toBe(100);
  passage.pause();
  expect(tally.silentMs(9000)).toBe(0);
  passage.resume(9000);
  expect(tally.silentMs(9100)).toBe(100);
  passage.end();
  passage.end();
  expect([tally.silentMs(10_000), tally.inFlight]).toEqual([0, 0]);
});

test('it is saturated when one more request would wait behind others, or was just refused', () => {
  const full = { running: 16, queued: 1, maxBatch: 16 };
  expect(tallyOf({ load: full }).isSaturated(0)).toBe(true);
  expect(tallyOf({ load: { ...full, queued: 0 } }).isSaturated(0)).toBe(false);
  expect(tallyOf({}).isSaturated(0)).toBe(false);
  const refusing = tallyOf({});
  refusing.refused(700, 0);
  expect([refusing.isSaturated(600), refusing.isSaturated(800)]).toEqual([true, false]);
});

test('a message with numbers alone, or none, leaves what is cached there as it was told, by whatever stream', () => {
  const tally = tallyOf({});
  const [one, other] = [tally.begin(0), tally.begin(0)];
  const load = (more: object) => create(LoadSchema, { base: 'b', maxBatch: 16, ...more });
  one.reported(load({ running: 1, cachedPrefixes: [7n] }), 1);
  one.reported(create(LoadSchema, { running: 5, numbersOnly: true }), 2);
  expect(tally.load).toMatchObject({ running: 5, base: 'b', cachedPrefixes: [7n] });
  other.reported(load({ running: 2, cachedPrefixes: [8n] }), 3);
  expect(tally.load).toMatchObject({ running: 2, cachedPrefixes: [8n] });
  // Its numbers are as it told last; of what is cached the other one knows more.
  one.reported(undefined, 4);
  expect(tally.load).toMatchObject({ running: 5, cachedPrefixes: [8n], numbersOnly: false });
});
