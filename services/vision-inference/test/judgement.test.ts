import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import { status } from '@grpc/grpc-js';
import { Role } from '@landfall/proto/landfall/mesh/v1/options_pb.js';
import { TimeBucket } from '@landfall/proto/landfall/vision/v1/inspection_service_pb.js';
import { CalibrationMethod } from '@landfall/proto/landfall/vision/v1/profile_service_pb.js';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { generator, testSeed } from '../../graph/test/random.ts';
import { logitCurve } from '../src/calibration/apply.ts';
import { SUM_UP } from '../src/db/migrations/counts.ts';
import { answerOf, picture, type Script, seeing } from './seeing.ts';
import { type Stage, stage } from './stage.ts';

const random = generator(testSeed('judgement'));
const MODEL = 'models:/eye/1.0.0';
const DAY_MS = 86_400_000;
let at: Stage | undefined;
let script: Script;
const eye = seeing(() => script);
const scratch = answerOf(['scratch', 'moderate', [10, 20, 30, 40]]);

beforeAll(async () => {
  at = await stage({ eye });
  if (!at) return;
  const { spec } = (await at.profiles.getProfile({ name: 'surface' })).profile!;
  for (const name of ['judged', 'counted']) {
    const review = { $typeName: 'landfall.vision.v1.ReviewPolicy' as const, ...everyone };
    await at.profiles.putProfile({ name, spec: { ...spec!, review } });
  }
}, 60_000);
afterAll(() => at?.[Symbol.asyncDispose]());

const everyone = {
  sampleRate: 0,
  uncertainFrom: 0,
  uncertainTo: 0,
  claimSeconds: 0,
  always: true,
  twoPerson: false,
};

async function inspected(profile: string, line = '') {
  const image = { content: await picture(40, 20) };
  return (await at!.vision.inspect({ profile, deployment: 'eye', image, line })).report!;
}

async function decided(profile: string, confirm: boolean, line = '') {
  const { reviewId: id, defective } = await inspected(profile, line);
  await at!.reviews.claimReview({ id });
  const scratched = { type: 'scratch', severity: 2, box: { x0: 4, y0: 4, x1: 12, y1: 8 } };
  const words = confirm ? { confirm } : { defects: defective ? [] : [scratched] };
  await at!.reviews.decideReview({ id, ...words });
}

const SUMS = {
  report: 'tenant, profile, hour, line',
  finding: 'tenant, profile, hour, line, type, severity',
  review: 'tenant, profile, hour, line, reported, decided, confirmed',
};

/** All sums by hour, in order of their keys. */
async function sums(): Promise<object[]> {
  const rows: object[] = [];
  for (const [table, key] of Object.entries(SUMS))
    rows.push(...((await at!.sql(`select * from ${table}_hour order by ${key}`)) as object[]));
  return rows;
}

/** Makes the sums from the rows, as the migration does. */
async function sumUpAnew(): Promise<void> {
  for (const table of Object.keys(SUMS)) await at!.sql(`delete from ${table}_hour`);
  for (const statement of SUM_UP) await at!.sql(statement);
}

test('confidences are fitted to what people decided, and the next report says the calibrated one', async (t) => {
  if (!at) return t.skip();
  const { profiles } = at;
  const calibrate = () => profiles.calibrateProfile({ name: 'judged', model: MODEL });
  script = { text: scratch, report: 0.98 };
  // It is right in about two of three, and 98 % sure.
  for (let i = 0; i < 19; i++) await decided('judged', i % 3 !== 0);
  await expect(calibrate()).rejects.toMatchObject({
    ...{ code: status.FAILED_PRECONDITION, reason: 'TOO_FEW_REVIEWS' },
  });
  script = { text: '{"defects":[]}', report: 0.02 };
  for (let i = 0; i < 6; i++) await decided('judged', i !== 0);
  const { calibration } = await calibrate();
  expect(calibration).toMatchObject({ model: MODEL, reviews: 25, points: [] });
  expect(calibration!.temperature).toBeGreaterThan(2);
  expect(calibration!.errorBefore).toBeGreaterThan(0.2);
  expect(calibration!.errorAfter).toBeLessThan(calibration!.errorBefore);
  expect(calibration!.logLossAfter).toBeLessThan(calibration!.logLossBefore);
  script = { text: scratch, report: 0.98 };
  const [defect] = (await inspected('judged')).defects;
  expect(defect!.rawConfidence).toBeCloseTo(0.98, 6);
  expect(defect!.confidence).toBeLessThan(0.9);
  const { calibration: platt } = await profiles.calibrateProfile({
    ...{ name: 'judged', model: MODEL, method: CalibrationMethod.PLATT, requestId: 'platt' },
  });
  const { temperature, offset } = platt!;
  expect(offset).not.toBe(0);
  const [moved] = (await inspected('judged')).defects;
  expect(moved!.confidence).toBeCloseTo(logitCurve(temperature, offset)(0.98), 6);
  const isotonic = await profiles.calibrateProfile({
    ...{ name: 'judged', model: MODEL, method: CalibrationMethod.ISOTONIC, requestId: 'iso' },
  });
  expect(isotonic.calibration!.points.length).toBeGreaterThan(1);
  const again = await inspected('judged');
  expect(again).toMatchObject({ calibrated: true });
  // 12 of 19 claims were right.
  expect(again.defects[0]!.confidence).toBeGreaterThan(0.55);
  expect(again.defects[0]!.confidence).toBeLessThan(0.72);
  const { profile } = await profiles.getProfile({ name: 'judged' });
  expect(profile!.calibrations).toEqual([isotonic.calibration]);
  // What was reported before stays as it was reported.
  const { reports } = await at.inspections.listReports({ profile: 'judged', pageSize: 500 });
  expect(reports.filter(({ calibrated }) => calibrated)).toHaveLength(3);
}, 120_000);

test('a version of the profile that asks otherwise is calibrated by its own reviews alone', async (t) => {
  if (!at) return t.skip();
  const { profiles } = at;
  const { profile } = await profiles.getProfile({ name: 'judged' });
  const { spec, calibrations } = profile!;
  expect(calibrations[0]).toMatchObject({ looks: 1, promptDigest: expect.stringMatching(/^sha256:/) });
  script = { text: scratch, report: 0.98 };
  for (const change of [{ looks: 2 }, { prompt: '<image>\n有没有缺陷?' }]) {
    await profiles.putProfile({ name: 'judged', spec: { ...spec!, ...change } });
    expect((await inspected('judged')).calibrated).toBe(false);
    await decided('judged', true);
    const calibrate = profiles.calibrateProfile({ name: 'judged', model: MODEL });
    await expect(calibrate).rejects.toMatchObject({
      ...{ code: status.FAILED_PRECONDITION, reason: 'TOO_FEW_REVIEWS' },
      message: expect.stringContaining('1 reviews of'),
    });
  }
  // Thresholds change what is done with confidences, not what they mean.
  await profiles.putProfile({ name: 'judged', spec: { ...spec!, threshold: 0.1 } });
  expect((await inspected('judged')).calibrated).toBe(true);
}, 120_000);

test('reviews that all say the same teach nothing', async (t) => {
  if (!at) return t.skip();
  const admin = { identity: { subject: 'key:a', tenant: 'alike', role: Role.EDITOR } };
  await expect(at.profiles.calibrateProfile({ name: 'surface', model: MODEL }, admin)).rejects.toMatchObject({
    reason: 'TOO_FEW_REVIEWS',
  });
});

test('statistics count by day, line, type and severity, and say how often reports were wrong', async (t) => {
  if (!at) return t.skip();
  const lines = ['east', 'west'];
  const texts = [
    scratch,
    answerOf(['crack', 'severe', [1, 1, 5, 5]], ['scratch', 'slight', [20, 20, 30, 30]]),
    '{"defects":[]}',
  ];
  const expected = new Map<string, number>();
  const wrong = { falseAlarm: 0, missed: 0, sound: 0, defective: 0 };
  const count = (key: string) => expected.set(key, (expected.get(key) ?? 0) + 1);
  for (let i = 0; i < 24; i++) {
    const [line, kind] = [lines[i % 2]!, Math.floor(random() * 3)];
    script = { text: texts[kind]! };
    const confirm = random() < 0.6;
    await decided('counted', confirm, line);
    count(`${line} reports`);
    if (kind === 0) count(`${line} scratch 2`);
    if (kind === 1) for (const key of ['crack 3', 'scratch 1']) count(`${line} ${key}`);
    const isDefective = (kind !== 2) === confirm;
    if (isDefective) wrong.defective++;
    else wrong.sound++;
    if (!confirm && kind !== 2) wrong.falseAlarm++;
    if (!confirm && kind === 2) wrong.missed++;
  }
  // What each transaction added comes to what all rows together say.
  const kept = await sums();
  await sumUpAnew();
  expect(await sums()).toEqual(kept);
  // Half of the reports were yesterday.
  const ids = (await at.inspections.listReports({ profile: 'counted', pageSize: 500 })).reports.map(
    ({ id }) => id,
  );
  const old = ids
    .slice(12)
    .map((id) => `'${id}'`)
    .join(',');
  for (const [table, key] of [
    ['report', 'id'],
    ['finding', 'report_id'],
    ['review', 'report_id'],
  ]) {
    await at.sql(`update ${table} set created_ms = created_ms - ${DAY_MS} where ${key} in (${old})`);
  }
  await sumUpAnew();
  const ask = (query: object) => at!.inspections.getStatistics({ profile: 'counted', ...query });
  const all = await ask({});
  const found = new Map<string, number>();
  for (const { line, reports } of all.reports) found.set(`${line} reports`, Number(reports));
  for (const each of all.defects) found.set(`${each.line} ${each.type} ${each.severity}`, Number(each.count));
  expect(found).toEqual(expected);
  expect(all.rates).toMatchObject({ reviews: 24n, sound: wrong.sound, defective: wrong.defective });
  expect(all.rates!.falseAlarmRate).toBeCloseTo(wrong.sound ? wrong.falseAlarm / wrong.sound : 0, 9);
  expect(all.rates!.missRate).toBeCloseTo(wrong.defective ? wrong.missed / wrong.defective : 0, 9);
  const daily = await ask({ bucket: TimeBucket.DAY });
  const days = new Set(daily.reports.map(({ time }) => Number(time!.seconds)));
  expect(days.size).toBe(2);
  expect([...days].every((seconds) => seconds % 86_400 === 0)).toBe(true);
  const east = await ask({ line: 'east', bucket: TimeBucket.HOUR });
  expect(new Set(east.reports.map(({ line }) => line))).toEqual(new Set(['east']));
  const yesterday = await ask({ to: timestampFromMs(Date.now() - DAY_MS / 2) });
  expect(yesterday.reports.reduce((sum, { reports }) => sum + Number(reports), 0)).toBe(12);
  await expect(ask({ bucket: TimeBucket.HOUR, from: timestampFromMs(0) })).resolves.toBeDefined();
  for (let trial = 0; trial < 12; trial++) {
    const fromMs = Date.now() - Math.floor(random() * 1.2 * DAY_MS);
    const toMs = fromMs + 1 + Math.floor(random() * 1.2 * DAY_MS);
    const within = await ask({ from: timestampFromMs(fromMs), to: timestampFromMs(toMs) });
    const [row] = (await at.sql(
      `select count(*) as n from report where profile = 'counted' and created_ms >= ${fromMs} and created_ms < ${toMs}`,
    )) as { n: number | string }[];
    const n = Number(row!.n);
    expect(
      within.reports.reduce((sum, { reports }) => sum + Number(reports), 0),
      `${fromMs} ${toMs}`,
    ).toBe(n);
    expect(Number(within.rates!.reviews), `${fromMs} ${toMs}`).toBe(n);
  }
  const long = { bucket: TimeBucket.HOUR, from: timestampFromMs(Date.now() - 365 * DAY_MS) };
  await expect(ask(long)).rejects.toMatchObject({
    code: status.RESOURCE_EXHAUSTED,
    reason: 'TOO_MANY_BUCKETS',
  });
}, 120_000);

test('a drawn report stands for those that were not drawn', async (t) => {
  if (!at) return t.skip();
  const { spec } = (await at.profiles.getProfile({ name: 'surface' })).profile!;
  const review = {
    $typeName: 'landfall.vision.v1.ReviewPolicy' as const,
    ...everyone,
    always: false,
    sampleRate: 0.25,
  };
  await at.profiles.putProfile({ name: 'drawn', spec: { ...spec!, review } });
  script = { text: scratch };
  let reviewId = '';
  for (let size = 10; reviewId === ''; size++) {
    const image = { content: await picture(size, 10) };
    reviewId = (await at.vision.inspect({ profile: 'drawn', deployment: 'eye', image })).report!.reviewId;
  }
  await at.reviews.claimReview({ id: reviewId });
  await at.reviews.decideReview({ id: reviewId, confirm: true });
  const { rates } = await at.inspections.getStatistics({ profile: 'drawn' });
  expect(rates).toMatchObject({ reviews: 1n, defective: 4, sound: 0, missRate: 0 });
});
