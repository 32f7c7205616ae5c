/** A gateway whose readers never have the time: nothing passes unread. */

import { Code, ConnectError, createClient } from '@connectrpc/connect';
import { PersonalDataAction } from '@landfall/proto/landfall/gateway/v1/content_pb.js';
import { FinishReason } from '@landfall/proto/landfall/text/v1/generation_pb.js';
import { VisionInferenceService } from '@landfall/proto/landfall/vision/v1/vision_inference_service_pb.js';
import sharp from 'sharp';
import { expect, test } from 'vitest';
import { chat, said, setPolicy, stage, transports, useContentMesh } from './content-mesh.ts';

let given = 0;
useContentMesh({
  // Less than a process takes to start.
  env: { LANDFALL_IMAGE_READER_TIMEOUT_MS: '1' },
  async *generate({ messages }) {
    given += messages.flatMap(({ images }) => images).length;
    yield { delta: '看到了' };
    yield { finishReason: FinishReason.STOP, usage: { inputTokens: 1, outputTokens: 1 } };
  },
  vision: {
    inspect: () => {
      given++;
      return {};
    },
  },
});

test('an image that is not read in time passes on no way; texts do, and images where none are read', async (t) => {
  if (!stage.mesh) return t.skip();
  const blank = await sharp({ create: { width: 64, height: 64, channels: 3, background: '#ffffff' } })
    .png()
    .toBuffer();
  const url = `data:image/png;base64,${blank.toString('base64')}`;
  const showing = [{ role: 'user', content: [{ type: 'image_url', image_url: { url } }] }];
  const requests = [{ types: ['phone'], action: PersonalDataAction.MASK }];
  await setPolicy({ rules: [{ routes: ['*'], readImages: true, requests }] });
  const whole = await chat(showing);
  expect(whole.status).toBe(400);
  expect(await whole.text()).toMatch(/was not read within 1 ms.*send it smaller/);
  expect(await (await chat(showing, { stream: true })).text()).toMatch(/was not read within/);
  const vision = createClient(VisionInferenceService, transports.gRPC!());
  const cause = await vision.inspect({ image: { content: blank }, profile: 'surface' }).then(
    () => expect.fail('it passed'),
    (error: unknown) => ConnectError.from(error),
  );
  expect(cause.code).toBe(Code.FailedPrecondition);
  expect(given).toBe(0);
  await said(await chat([{ role: 'user', content: '请复检' }]));
  await setPolicy({ rules: [{ routes: ['*'], requests }] });
  await said(await chat(showing));
  expect(given).toBe(1);
});
