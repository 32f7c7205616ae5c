/** Process of the clip bench's peer: transformers.js on an exported CLIP, a batch of images at a time. */

import {
  AutoProcessor,
  CLIPVisionModelWithProjection,
  env,
  RawImage,
  type Tensor,
} from '@huggingface/transformers';

export interface Ask {
  call: number;
  images: Uint8Array[];
}

export interface Told {
  call: number;
  vectors: number[][];
}

const [folder = '', threads] = process.argv.slice(2);
env.allowRemoteModels = false;
const local = { local_files_only: true };
const processor = await AutoProcessor.from_pretrained(folder, local);
const model = await CLIPVisionModelWithProjection.from_pretrained(folder, {
  ...local,
  session_options: { intraOpNumThreads: Number(threads), interOpNumThreads: 1 },
});
process.on('message', async ({ call, images }: Ask) => {
  const shown = await Promise.all(
    images.map((bytes) => RawImage.fromBlob(new Blob([new Uint8Array(bytes)], { type: 'image/png' }))),
  );
  const { image_embeds } = (await model(await processor(shown))) as { image_embeds: Tensor };
  process.send!({ call, vectors: image_embeds.tolist() as number[][] } satisfies Told);
});
process.on('disconnect', () => process.exit());
process.send!('ready');
