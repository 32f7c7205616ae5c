/** Rulings on images: what is remembered, what is painted for good, and what surfaces without text are taken for. */

import { create } from '@bufbuild/protobuf';
import { createLogger } from '@landfall/common/log/logger.ts';
import { PERSONAL_DATA_TYPES } from '@landfall/masking/mask.ts';
import { drawnPng } from '@landfall/ocr/test-pictures.ts';
import {
  ContentCategory,
  ContentPolicySchema,
  FilterAction,
  PersonalDataAction,
} from '@landfall/proto/landfall/gateway/v1/content_pb.js';
import { Role } from '@landfall/proto/landfall/mesh/v1/options_pb.js';
import {
  type InspectRequest,
  InspectRequestSchema,
  VisionInferenceService,
} from '@landfall/proto/landfall/vision/v1/vision_inference_service_pb.js';
import { makeSurface } from '@landfall/surfaces/surface.ts';
import sharp from 'sharp';
import { afterAll, beforeEach, expect, test, vi } from 'vitest';
import type { Flow } from '../edge/governance.ts';
import { ImageReaders } from '../ocr/image-readers.ts';
import { ImageCheck } from './image-check.ts';
import { ImageCounts } from './image-counts.ts';
import { CompiledPolicy } from './policy.ts';

vi.setConfig({ testTimeout: 600_000 });

const readers = new ImageReaders({
  ...{ processes: 1, threads: 1, timeoutMs: 600_000, mostWaiting: 8 },
  logger: createLogger('test', 'silent'),
});
afterAll(() => readers[Symbol.asyncDispose]());

let counts: ImageCounts;
let images: ImageCheck;
beforeEach(() => {
  counts = new ImageCounts();
  images = new ImageCheck(readers, counts);
});

const ROUTE = 'landfall.vision.v1.VisionInferenceService/Inspect';
const policyOf = (version: number) =>
  new CompiledPolicy(
    create(ContentPolicySchema, {
      rules: [
        {
          ...{ routes: ['*'], readImages: true },
          requests: [{ types: [...PERSONAL_DATA_TYPES], action: PersonalDataAction.MASK }],
          requestFilters: [
            { name: 'goods', words: ['毒品', '枪支'], homophones: true, action: FilterAction.REDACT },
            { name: 'orders', injectionThreshold: 0.7, action: FilterAction.BLOCK },
            {
              ...{ name: 'harm', action: FilterAction.BLOCK },
              categories: [{ category: ContentCategory.VIOLENCE, threshold: 0.9 }],
            },
          ],
        },
      ],
    }),
    version,
  );

/** Passes an image as a tenant's call by a version of the policy. @returns the image that goes on */
async function passed(content: Uint8Array, tenant = 'default', version = 1): Promise<Uint8Array> {
  const policy = policyOf(version);
  const caller = { subject: 'user:a', tenant, role: Role.INVOKER };
  const { requests, rule } = policy.decide([ROUTE], caller);
  const method = VisionInferenceService.method.inspect;
  const call = { method, route: ROUTE, signal: new AbortController().signal };
  const flow = { call, caller, contentRule: `${version}/${rule}` } as unknown as Flow;
  const request = create(InspectRequestSchema, { image: { content } });
  const { message } = (await images.pass(flow, request, requests!, version))!;
  return (message as InspectRequest).image!.content;
}

test('an image is read once a tenant and version, and its painted form is remembered', async () => {
  const picture = await drawnPng('手机 13812345678', { px: 24 });
  const first = await passed(picture);
  expect(Buffer.from(first).equals(picture)).toBe(false);
  expect(Buffer.from(await passed(picture)).equals(first)).toBe(true);
  expect(counts.of('default')).toEqual({ changed: 1, remembered: 1 });
  await passed(picture, 'acme');
  await passed(picture, 'default', 2);
  expect(counts.of('acme')).toEqual({ changed: 1 });
  expect(counts.of('default')).toEqual({ changed: 2, remembered: 1 });
});

test.each([
  ['one of several in a row', '张伟 13812345678 李娜 13900139000 三号线'],
  ['words of filters', '本店出售毒品和枪支,欢迎光临'],
  ['an address of e-mail', 'Write to zhang.wei@example.com before noon'],
])('%s: nothing is found in what goes on', async (_, text) => {
  const picture = await drawnPng(text, { px: 26 });
  const painted = await passed(picture);
  expect(Buffer.from(painted).equals(picture)).toBe(false);
  // Read anew, it passes as it is.
  expect(Buffer.from(await passed(painted)).equals(Buffer.from(painted))).toBe(true);
  expect(counts.of('default')).toEqual({ changed: 1, passed: 1 });
});

test('50 surfaces without text, half of them with defects, all pass to the byte', async () => {
  for (let seed = 1; seed <= 50; seed++) {
    const { width, height, rgb } = makeSurface({ seed, ...(seed % 2 === 0 ? { count: 0 } : {}) });
    const surface = await sharp(rgb, { raw: { width, height, channels: 3 } })
      .png()
      .toBuffer();
    expect(Buffer.from(await passed(surface)).equals(surface), `seed ${seed}`).toBe(true);
  }
  expect(counts.of('default')).toEqual({ passed: 50 });
});
