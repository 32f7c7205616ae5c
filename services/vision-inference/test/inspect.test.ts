import { createHash } from 'node:crypto';
import { status } from '@grpc/grpc-js';
import { Broker } from '@landfall/common/events/broker.ts';
import { createLogger } from '@landfall/common/log/logger.ts';
import { storedImage } from '@landfall/images/stored.ts';
import { Role } from '@landfall/proto/landfall/mesh/v1/options_pb.js';
import { FinishReason } from '@landfall/proto/landfall/text/v1/generation_pb.js';
import type { GenerateRequest } from '@landfall/proto/landfall/text/v1/text_inference_service_pb.js';
import { type Report, ReviewCause, Severity } from '@landfall/proto/landfall/vision/v1/inspection_pb.js';
import sharp from 'sharp';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { answerOf, picture, type Script, seeing } from './seeing.ts';
import { type Stage, stage } from './stage.ts';

let at: Stage | undefined;
let script: Script;
/** Answers by what is asked, where it is set. */
let scripted: ((request: GenerateRequest) => Script) | undefined;
const eye = seeing((request) => scripted?.(request) ?? script);

beforeAll(async () => {
  at = await stage({ eye });
}, 60_000);
afterAll(() => at?.[Symbol.asyncDispose]());
beforeEach(() => {
  script = { text: answerOf(['scratch', 'moderate', [10, 20, 30, 40]]), report: 0.95, type: 0.9 };
  scripted = undefined;
  eye.asked.length = 0;
});

const asking = { profile: 'surface', deployment: 'eye' };
let shade = 0;
/** A picture that was not sent before: the draw for review goes by its digest. */
const fresh = async () => ({ content: await picture(200, 100, shade++ % 256) });

async function inspected(request: object = {}): Promise<Report> {
  return (await at!.vision.inspect({ ...asking, image: await fresh(), ...request })).report!;
}

test('an image becomes a report: what, where, how bad, how sure, what follows, and the six lines', async (t) => {
  if (!at) return t.skip();
  const report = await inspected({ line: 'line 3', item: 'SN-1' });
  expect(report).toMatchObject({
    ...{
      defective: true,
      model: 'models:/eye/1.0.0',
      deployment: 'eye',
      profile: 'surface',
      profileVersion: 0,
    },
    ...{
      line: 'line 3',
      item: 'SN-1',
      author: 'key:editor',
      imageWidth: 200,
      imageHeight: 100,
      imageKept: true,
    },
    ...{ calibrated: false, belowThreshold: [], firstTokenMs: 4 },
    conclusion: '存在划痕,外观不合格',
    advice: '返修抛光并复检,检查搬运工序',
  });
  const [defect] = report.defects;
  expect(defect).toMatchObject({
    ...{ type: 'scratch', name: '划痕', severity: Severity.MODERATE, position: '左上部' },
    box: { x0: 20, y0: 20, x1: 60, y1: 40 },
  });
  expect(defect!.confidence).toBeCloseTo(0.95 * 0.9, 6);
  expect(report.defectProbability).toBeCloseTo(0.95, 6);
  expect(report.text).toBe(
    [
      '缺陷检测结果:检出缺陷',
      '缺陷类型:划痕',
      '缺陷位置:左上部',
      '严重程度:中等',
      '检测结论:存在划痕,外观不合格',
      '处理建议:返修抛光并复检,检查搬运工序',
    ].join('\n'),
  );
  const [asked] = eye.asked;
  expect(asked!.messages).toMatchObject([{ role: 'user', content: '<image>\n检测图中产品表面的缺陷。' }]);
  expect(asked!.messages[0]!.images).toHaveLength(1);
  expect(asked!.constraint!.kind.case).toBe('jsonSchema');
  const { heatMap: _, ...kept } = report;
  expect((await at.inspections.getReport({ id: report.id })).report).toMatchObject(kept);
});

test('a piece without a defect passes, in English too', async (t) => {
  if (!at) return t.skip();
  script = { text: '{"defects":[]}', report: 0.1 };
  const report = await inspected({ profile: 'surface-en' });
  expect(report).toMatchObject({
    defective: false,
    defects: [],
    conclusion: 'No defect is seen; the piece passes',
  });
  expect(report.defectProbability).toBeCloseTo(0.1, 6);
  expect(report.text.split('\n')).toEqual([
    ...['Inspection result: no defect found', 'Defect type: none', 'Position: none', 'Severity: none'],
    ...['Conclusion: No defect is seen; the piece passes', 'Advice: Release'],
  ]);
});

test('of several defects the worst decides; what is below its threshold is told apart', async (t) => {
  if (!at) return t.skip();
  const sure = [{ conclusion: 'c', advice: 'a' }];
  const severe = [{ severity: Severity.SEVERE, conclusion: 'worst', advice: 'scrap' }, ...sure];
  const type = (id: string, threshold: number, dispositions: object[]) => ({
    id,
    name: id,
    threshold,
    dispositions,
  });
  const spec = {
    ...{ language: 'en', deployment: 'eye', sound: sure[0]!, threshold: 0.5, boxScale: 10 },
    defectTypes: [type('hole', 0.99, sure), type('dent', 0, severe)],
  };
  await at.profiles.putProfile({ name: 'several', spec });
  script = {
    text: answerOf(
      ['hole', 'slight', [0, 0, 5, 5]],
      ['dent', 'slight', [9, 9, 2, 2]],
      ['dent', 'severe', [1, 1, 2, 2]],
    ),
    report: 0.8,
  };
  const report = await inspected({ profile: 'several', deployment: '' });
  expect(report.defects.map(({ type, severity }) => [type, severity])).toEqual([
    ['dent', Severity.SLIGHT],
    ['dent', Severity.SEVERE],
  ]);
  expect(report.defects[0]!.box).toMatchObject({ x0: 40, y0: 20, x1: 180, y1: 90 });
  expect(report.belowThreshold.map(({ type }) => type)).toEqual(['hole']);
  expect(report).toMatchObject({ profileVersion: 1, conclusion: 'worst', advice: 'scrap; a' });
});

test('where the threshold is below one half, the model is asked for what it would not name by itself', async (t) => {
  if (!at) return t.skip();
  const hole = { id: 'hole', name: 'hole', dispositions: [{ conclusion: 'c', advice: 'a' }] };
  const spec = { language: 'en', deployment: 'eye', sound: hole.dispositions[0]!, defectTypes: [hole] };
  await at.profiles.putProfile({ name: 'doubtful', spec: { ...spec, threshold: 0.2 } });
  const leastOf = ({ constraint }: GenerateRequest): number =>
    JSON.parse(String(constraint?.kind.value)).properties.defects.minItems;
  const named = answerOf(['hole', 'slight', [0, 0, 500, 500]]);
  for (const [report, found] of [
    [0.25, 1],
    [0.15, 0],
  ] as const) {
    scripted = (request) => ({ text: leastOf(request) > 0 ? named : answerOf(), report });
    eye.asked.length = 0;
    const { defects, defectProbability } = await inspected({ profile: 'doubtful', deployment: '' });
    expect(defects).toHaveLength(found);
    expect(eye.asked.map(leastOf)).toEqual(found > 0 ? [0, 1] : [0]);
    expect(defectProbability).toBeCloseTo(report, 6);
    expect(defects[0]?.confidence ?? report).toBeCloseTo(report, 6);
  }
});

/** A picture that is black in the upper left corner, and where that corner lies in one that was made of it. */
const marked = () =>
  sharp({ create: { width: 200, height: 100, channels: 3, background: '#808080' } })
    .composite([
      {
        ...{ left: 0, top: 0 },
        input: { create: { width: 20, height: 10, channels: 3, background: '#000000' } },
      },
    ])
    .png()
    .toBuffer();
async function cornerOf(image: Uint8Array): Promise<string> {
  const { data, info } = await sharp(image).greyscale().raw().toBuffer({ resolveWithObject: true });
  const at = data.indexOf(0);
  return [
    at < (info.width * info.height) / 2 ? 'upper' : 'lower',
    at % info.width < 100 ? 'left' : 'right',
  ].join(' ');
}

test('several looks: mirrored images are asked about too, and a defect is as sure as they are together', async (t) => {
  if (!at) return t.skip();
  const hole = { id: 'hole', name: 'hole', dispositions: [{ conclusion: 'c', advice: 'a' }] };
  const spec = {
    ...{ language: 'en', deployment: 'eye', sound: hole.dispositions[0]!, threshold: 0.3, boxScale: 100 },
    ...{ defectTypes: [hole, { ...hole, id: 'dent', name: 'dent' }], looks: 4 },
    sections: [{ id: 'remark', title: 'Remark', maxLines: 1 }],
  };
  await at.profiles.putProfile({ name: 'thorough', spec });
  const content = await marked();
  const stored = Buffer.from((await storedImage(content)).bytes);
  const answer = (defects: [string, string, number[]][], remark: string) =>
    JSON.stringify({ ...JSON.parse(answerOf(...defects)), remark });
  // As it came: a dent at the left, which no other look names. Otherwise a hole where the corner lies in each image.
  scripted = ({ messages: [{ images } = { images: [] }] }) =>
    stored.equals(images[0]!)
      ? {
          text: answer(
            [
              ['hole', 'slight', [0, 0, 10, 10]],
              ['dent', 'severe', [0, 40, 20, 60]],
            ],
            'as it came',
          ),
          report: 0.9,
        }
      : { text: answer([['hole', 'severe', [90, 90, 100, 100]]], 'mirrored'), report: 0.6 };
  const report = await inspected({
    image: { content },
    profile: 'thorough',
    deployment: '',
    includeHeatMap: true,
  });
  expect(eye.asked).toHaveLength(4);
  const corners = await Promise.all(eye.asked.map(({ messages }) => cornerOf(messages[0]!.images[0]!)));
  expect(corners.sort()).toEqual(['lower left', 'lower right', 'upper left', 'upper right']);
  // Turned by half a turn the hole lies where it did; in the two that are mirrored once it lies elsewhere.
  const [one] = report.defects;
  expect(report.defects).toHaveLength(1);
  expect(one).toMatchObject({
    type: 'hole',
    severity: Severity.SLIGHT,
    box: { x0: 0, y0: 0, x1: 20, y1: 10 },
  });
  expect(one!.confidence).toBeCloseTo((0.9 + 0.6) / 4, 6);
  expect(report.defectProbability).toBeCloseTo((0.9 + 3 * 0.6) / 4, 6);
  expect(report.sections.map(({ lines }) => lines)).toEqual([['as it came']]);
  // What was agreed on is explained as if the model had written it.
  expect(one!.attention).toMatchObject({ rows: 2, columns: 4 });
  eye.asked.length = 0;
  scripted = () => ({ text: answer([['hole', 'slight', [0, 0, 10, 10]]], 'mute'), mute: true });
  const mute = await inspected({ profile: 'thorough', deployment: '' });
  expect(mute.defects).toHaveLength(1);
  expect(mute.reviewCause).toBe(ReviewCause.NO_CONFIDENCE);
});

test('a model that can not be held to so many defects is asked no third time', async (t) => {
  if (!at) return t.skip();
  script = { text: answerOf(), report: 0.4 };
  const report = await inspected({ profile: 'doubtful', deployment: '' });
  expect(report.defects).toEqual([]);
  expect(eye.asked).toHaveLength(2);
});

test('a repeat with the same token asks nobody and gives the first report; another request is refused', async (t) => {
  if (!at) return t.skip();
  const request = { ...asking, image: await fresh(), requestId: 'again-1' };
  const [first, second] = await Promise.all([at.vision.inspect(request), at.vision.inspect(request)]);
  expect(second.report!.id).toBe(first.report!.id);
  const count = eye.asked.length;
  expect((await at.vision.inspect(request)).report!.id).toBe(first.report!.id);
  expect(eye.asked).toHaveLength(count);
  await expect(at.vision.inspect({ ...request, item: 'other' })).rejects.toMatchObject({
    ...{ code: status.INVALID_ARGUMENT, fieldViolations: [{ field: 'request_id' }] },
  });
});

test('each defect is an event', async (t) => {
  if (!at) return t.skip();
  const broker = await Broker.connect(at.natsUrl, 'test', createLogger('test', 'silent'));
  await using _ = broker;
  script.text = answerOf(['crack', 'severe', [0, 0, 1, 1]], ['stain', 'slight', [5, 5, 9, 9]]);
  const { id } = await inspected({ line: 'east', item: 'SN-9' });
  const found: unknown[] = [];
  const consumer = await broker.js.consumers.get('LANDFALL', {
    filter_subjects: 'landfall.vision.defect.found.v1',
  });
  for await (const message of await consumer.consume()) {
    const event = message.json<{ inspectionId: string }>();
    if (event.inspectionId === id) found.push(event);
    if (found.length === 2) break;
  }
  const shared = { tenant: 'acme', profile: 'surface', line: 'east', item: 'SN-9', foundInReview: false };
  expect(found).toMatchObject([
    { ...shared, type: 'crack', severity: 'severe' },
    { ...shared, type: 'stain', severity: 'slight' },
  ]);
});

test('what is uncertain goes to people, and so does what a silent model says', async (t) => {
  if (!at) return t.skip();
  script.report = 0.5;
  const uncertain = await inspected();
  expect(uncertain).toMatchObject({ needsReview: true, reviewCause: ReviewCause.UNCERTAIN });
  expect(uncertain.reviewId).not.toBe('');
  script.mute = true;
  expect(await inspected()).toMatchObject({
    ...{ needsReview: true, reviewCause: ReviewCause.NO_CONFIDENCE, defective: true },
  });
});

test('reports are drawn for review at the profile rate, the same image always alike', async (t) => {
  if (!at) return t.skip();
  const disposition = { conclusion: 'c', advice: 'a' };
  const spec = {
    ...{ language: 'zh', deployment: 'eye', sound: disposition, review: { sampleRate: 0.5 } },
    defectTypes: [{ id: 'scratch', name: 'x', dispositions: [disposition] }],
  };
  await at.profiles.putProfile({ name: 'sampled', spec });
  const drawn = async (image: { content: Buffer }) =>
    (await at!.vision.inspect({ profile: 'sampled', image })).report!.reviewCause === ReviewCause.SAMPLED;
  const images = await Promise.all(Array.from({ length: 24 }, (_, i) => picture(20 + i, 10)));
  const first = await Promise.all(images.map((content) => drawn({ content })));
  expect(new Set(first)).toEqual(new Set([true, false]));
  expect(await Promise.all(images.map((content) => drawn({ content })))).toEqual(first);
});

test('assistance carries its notice, its parts in words, and waits for a signature', async (t) => {
  if (!at) return t.skip();
  script = {
    text: JSON.stringify({
      findings: ['双肺纹理清晰', '心影不大'],
      impression: ['未见明显异常'],
      recommendation: ['定期随访'],
    }),
  };
  const report = await inspected({ profile: 'scan-report' });
  expect(report).toMatchObject({ needsReview: true, reviewCause: ReviewCause.SIGNATURE, defective: false });
  expect(report.text).toBe(
    [
      '本报告由模型起草,仅供辅助,不是诊断;须由具备资质的医师审核并签字后方可使用。',
      '检查所见:',
      '1. 双肺纹理清晰',
      '2. 心影不大',
      '印象:未见明显异常',
      '建议:定期随访',
      '审核签字:(待审核)',
    ].join('\n'),
  );
});

test('why: a grid for each defect, and an overlay that is hottest where the model looked', async (t) => {
  if (!at) return t.skip();
  // The scripted model looks at the patch that the box begins with: 7 is the last one, at the bottom right.
  script.text = answerOf(['scratch', 'moderate', [70, 60, 90, 90]]);
  const report = await inspected({ includeHeatMap: true });
  expect(report.defects[0]!.attention).toMatchObject({
    rows: 2,
    columns: 4,
    weights: [0, 0, 0, 0, 0, 0, 0, 1],
  });
  const { data, info } = await sharp(report.heatMap).raw().toBuffer({ resolveWithObject: true });
  expect([info.width, info.height, info.channels]).toEqual([512, 256, 3]);
  const at3 = (x: number, y: number) => [...data.subarray(3 * (y * 512 + x), 3 * (y * 512 + x) + 3)];
  const [red, , blue] = at3(480, 240);
  expect(red! - blue!).toBeGreaterThan(60);
  const shadeBefore = at3(20, 20);
  expect(Math.max(...shadeBefore) - Math.min(...shadeBefore)).toBeLessThan(12);
  // The box's edge, in its colour, and the label within reach of it.
  expect(at3(Math.round(0.7 * 512), 200)).toEqual([255, 64, 64]);
  const again = (await at.inspections.explainReport({ id: report.id })).report!;
  expect(Buffer.compare(again.heatMap, report.heatMap)).toBe(0);
  expect((await at.inspections.getReport({ id: report.id })).report!.heatMap).toHaveLength(0);
});

test('a stream gives each report as it comes, and an image that is none fails alone', async (t) => {
  if (!at) return t.skip();
  const images = [
    await fresh(),
    { content: Buffer.from('no image') },
    await fresh(),
    await fresh(),
    await fresh(),
  ];
  const outcomes = new Map<number, string>();
  let last = 0;
  for await (const part of at.vision.inspectStream({
    requests: images.map((image) => ({ ...asking, image })),
  })) {
    const { index, done, total, outcome } = part;
    expect([done, total]).toEqual([++last, 5]);
    outcomes.set(
      index,
      outcome.case === 'failure' ? `${outcome.value.code} ${outcome.value.message}` : outcome.case!,
    );
  }
  expect([0, 2, 3, 4].map((i) => outcomes.get(i))).toEqual(Array(4).fill('report'));
  expect(outcomes.get(1)).toMatch(/^INVALID_ARGUMENT requests\[1\]\.image\.content: /);
});

test.each([
  ['no report', { text: 'I see a scratch.' }],
  ['cut off', { text: '{"defects":[', finishReason: FinishReason.LENGTH }],
  ['another catalogue', { text: answerOf(['hole', 'slight', [1, 2, 3, 4]]) }],
])('an answer that is %s is none, and leaves nothing', async (_, answer) => {
  if (!at) return;
  script = answer;
  const before = await count();
  await expect(inspected()).rejects.toMatchObject({ code: status.ABORTED, reason: 'ANSWER_INVALID' });
  expect(await count()).toBe(before);
});

const count = async () => (await at!.inspections.listReports({ pageSize: 500 })).reports.length;

test('who asks for what is not there is told what to do', async (t) => {
  if (!at) return t.skip();
  await expect(inspected({ deployment: '' })).rejects.toMatchObject({
    ...{ code: status.FAILED_PRECONDITION, reason: 'NO_DEPLOYMENT' },
  });
  await expect(inspected({ profile: 'nowhere' })).rejects.toMatchObject({ code: status.NOT_FOUND });
  await expect(inspected({ deployment: 'nowhere' })).rejects.toMatchObject({ code: status.NOT_FOUND });
  const spec = (await at.profiles.getProfile({ name: 'surface' })).profile!.spec!;
  await at.profiles.putProfile({ name: 'lined', spec: { ...spec, lines: ['a', 'b'] } });
  await expect(inspected({ profile: 'lined', line: 'c' })).rejects.toMatchObject({
    ...{ code: status.INVALID_ARGUMENT, fieldViolations: [{ field: 'line' }] },
  });
});

test('reports, images and explanations are their tenant’s alone', async (t) => {
  if (!at) return t.skip();
  const { id } = await inspected();
  const elsewhere = { identity: { subject: 'key:x', tenant: 'other', role: Role.ADMIN } };
  const { inspections } = at;
  for (const call of [inspections.getReport, inspections.getReportImage, inspections.explainReport]) {
    await expect(call({ id }, elsewhere)).rejects.toMatchObject({ code: status.NOT_FOUND });
  }
  expect((await inspections.listReports({}, elsewhere)).reports).toEqual([]);
  const viewer = { identity: { subject: 'key:v', tenant: 'acme', role: Role.VIEWER } };
  await expect(at.vision.inspect({ ...asking, image: await fresh() }, viewer)).rejects.toMatchObject({
    code: status.PERMISSION_DENIED,
  });
});

test('lists are by profile, finding and page, newest first', async (t) => {
  if (!at) return t.skip();
  const identity = { subject: 'key:l', tenant: 'lister', role: Role.EDITOR };
  const ids: string[] = [];
  for (const [i, profile] of ['surface', 'surface-en', 'surface', 'surface'].entries()) {
    script.text = i === 2 ? '{"defects":[]}' : answerOf(['scratch', 'moderate', [10, 20, 30, 40]]);
    const request = { profile, deployment: 'eye', image: await fresh() };
    ids.unshift((await at.vision.inspect(request, { identity })).report!.id);
  }
  const list = async (query: object) => {
    const found: string[] = [];
    let pageToken = '';
    do {
      const page = await at!.inspections.listReports({ ...query, pageSize: 2, pageToken }, { identity });
      found.push(...page.reports.map(({ id }) => id));
      pageToken = page.nextPageToken;
    } while (pageToken);
    return found.map((id) => ids.indexOf(id));
  };
  expect(await list({})).toEqual([0, 1, 2, 3]);
  expect(await list({ profile: 'surface' })).toEqual([0, 1, 3]);
  expect(await list({ defective: false })).toEqual([1]);
  expect(await list({ profile: 'surface', defective: true })).toEqual([0, 3]);
});

test('an image is kept upright without what it said of its maker, and by its digest', async (t) => {
  if (!at) return t.skip();
  const secret = 'GPS 39.9042N 116.4074E';
  const content = await sharp({ create: { width: 60, height: 30, channels: 3, background: '#888' } })
    .withMetadata({ orientation: 6, exif: { IFD0: { ImageDescription: secret } } })
    .jpeg()
    .toBuffer();
  expect(content.includes(secret)).toBe(true);
  const { id, imageDigest, imageWidth, imageHeight } = await inspected({ image: { content } });
  expect([imageWidth, imageHeight]).toEqual([30, 60]);
  const kept = await at.inspections.getReportImage({ id });
  expect(kept.mediaType).toBe('image/jpeg');
  const bytes = Buffer.from(kept.image!.content);
  expect(bytes.includes('GPS')).toBe(false);
  expect(`sha256:${createHash('sha256').update(bytes).digest('hex')}`).toBe(imageDigest);
  expect((await sharp(bytes).metadata()).exif).toBeUndefined();
});
