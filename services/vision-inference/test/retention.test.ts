import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { create } from '@bufbuild/protobuf';
import { status } from '@grpc/grpc-js';
import { openArtifactStore } from '@landfall/common/artifacts/location.ts';
import { ReviewPolicySchema } from '@landfall/proto/landfall/vision/v1/profile_pb.js';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { KeptImages } from '../src/domain/kept-images.ts';
import { answerOf, picture, seeing } from './seeing.ts';
import { type Stage, stage } from './stage.ts';

let at: Stage | undefined;
let report = 1;
beforeAll(async () => {
  at = await stage({ eye: seeing(() => ({ text: answerOf(['scratch', 'slight', [1, 2, 3, 4]]), report })) });
}, 60_000);
afterAll(() => at?.[Symbol.asyncDispose]());

const files = () =>
  readdirSync(join(at!.home, 'images'), { recursive: true, withFileTypes: true }).filter(
    (entry) => entry.isFile() && /[0-9a-f]{60,}$/.test(entry.name),
  ).length;

test('an image goes when its time is over, not before, not while others or a review need it; its report stays', async (t) => {
  if (!at) return t.skip();
  const { vision, profiles } = at;
  const { spec } = (await profiles.getProfile({ name: 'surface' })).profile!;
  const review = create(ReviewPolicySchema, { uncertainFrom: 0.4, uncertainTo: 0.6 });
  const days = async (name: string, imageDays: number) =>
    profiles.putProfile({
      name,
      spec: { ...spec!, imageDays, review },
    });
  await days('short', 1);
  await days('long', 30);
  const inspect = async (profile: string, shade: number) => {
    const image = { content: await picture(20, 10, shade) };
    return (await vision.inspect({ profile, deployment: 'eye', image })).report!.id;
  };
  const [over, shared] = [await inspect('short', 1), await inspect('short', 2)];
  const kept = await inspect('long', 2);
  report = 0.5;
  const waits = await inspect('short', 3);
  expect(files()).toBe(3);
  // Two days later, by the clock of the rows.
  const later = 2 * 86_400_000;
  await at.sql(`update report set image_until_ms = image_until_ms - ${later}`);
  await using database = await at.database();
  const store = await openArtifactStore({ kind: 'disk', folder: join(at.home, 'images') }, '');
  const images = new KeptImages(store, database);
  const has = async (id: string) => (await at!.inspections.getReport({ id })).report!.imageKept;
  // Just taken: another inspection of the same picture may be about to write its report.
  expect(await images.sweep(Date.now())).toBe(0);
  await at.sql(`update image set used_ms = used_ms - ${later}`);
  expect(await images.sweep(Date.now())).toBe(2);
  expect(await Promise.all([over, shared, kept, waits].map(has))).toEqual([false, false, true, true]);
  expect(files()).toBe(2);
  expect(await images.sweep(Date.now())).toBe(0);
  for (const call of [at.inspections.getReportImage, at.inspections.explainReport]) {
    await expect(call({ id: over })).rejects.toMatchObject({
      ...{ code: status.FAILED_PRECONDITION, reason: 'IMAGE_GONE' },
    });
  }
  expect((await at.inspections.getReport({ id: over })).report!.text).toMatch(/^缺陷检测结果/);
});
