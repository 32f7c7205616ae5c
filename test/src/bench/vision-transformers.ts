/** Process of the vision bench's peer: transformers.js on an exported LLaVA, a batch of images at a time. */

import {
  AutoModelForImageTextToText,
  AutoProcessor,
  env,
  RawImage,
  type Tensor,
} from '@huggingface/transformers';

export interface Ask {
  images: Uint8Array[];
  question: string;
}

export interface Told {
  texts: string[];
}

const [folder = '', threads, output] = process.argv.slice(2);
env.allowRemoteModels = false;
const local = { local_files_only: true };
const processor = await AutoProcessor.from_pretrained(folder, local);
const model = await AutoModelForImageTextToText.from_pretrained(folder, {
  ...local,
  session_options: { intraOpNumThreads: Number(threads), interOpNumThreads: 1 },
});
process.on('message', async ({ images, question }: Ask) => {
  const shown = await Promise.all(
    images.map((bytes) => RawImage.fromBlob(new Blob([new Uint8Array(bytes)], { type: 'image/png' }))),
  );
  const chat = [{ role: 'user', content: question }];
  const text = processor.apply_chat_template(chat, { add_generation_prompt: true }) as unknown as string;
  const inputs = await processor(
    shown,
    images.map(() => text),
    // The template has written them already.
    { add_special_tokens: false },
  );
  const answer = (await model.generate({
    ...inputs,
    max_new_tokens: Number(output),
    do_sample: false,
    // Exactly so many tokens, as is asked of the replica.
    eos_token_id: null,
  })) as Tensor;
  const fresh = answer.slice(null, [inputs.input_ids.dims.at(-1), null]);
  const texts = processor.batch_decode(fresh, { skip_special_tokens: true });
  process.send!({ texts } satisfies Told);
});
process.on('disconnect', () => process.exit());
process.send!('ready');
