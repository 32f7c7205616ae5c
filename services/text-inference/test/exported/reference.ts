/** What transformers.js says by itself: its own processor, and its own choice of the likeliest tokens. */

import {
  AutoModelForImageTextToText,
  AutoProcessor,
  AutoTokenizer,
  env,
  type Message,
  RawImage,
  type Tensor,
} from '@huggingface/transformers';
import { decodeImage } from '@landfall/images/decode.ts';
import { tokenBytes } from '../../src/engine/token-bytes.ts';
import type { Json } from './folder.ts';

/** In which order a processor takes its inputs, and whether a chat template comes before. */
export type Way = 'text first' | 'image first' | 'image and bare text';

/**
 * The bytes of so many likeliest tokens behind a question about an image, and the tokens of the question.
 * @param question without places for the image
 */
export async function reference(
  folder: string,
  way: Way,
  question: string,
  image: Uint8Array,
  count: number,
): Promise<{ tokens: number[][]; inputTokens: number }> {
  env.allowRemoteModels = false;
  const local = { local_files_only: true };
  const [processor, tokenizer, model] = await Promise.all([
    AutoProcessor.from_pretrained(folder, local),
    AutoTokenizer.from_pretrained(folder, local),
    AutoModelForImageTextToText.from_pretrained(folder, { ...local, dtype: 'fp32' }),
  ]);
  const content = [{ type: 'image' }, { type: 'text', text: question }];
  const text =
    way === 'image and bare text'
      ? question
      : (tokenizer.apply_chat_template([{ role: 'user', content }] as unknown as Message[], {
          tokenize: false,
          add_generation_prompt: true,
        }) as string);
  const { width, height, rgb } = await decodeImage(image);
  const raw = new RawImage(rgb, width, height, 3);
  const call = processor as unknown as (...args: unknown[]) => Promise<Json & { input_ids: Tensor }>;
  const inputs = await (way === 'text first' ? call(text, [raw]) : call([raw], text));
  const apart = (model.config as unknown as { is_encoder_decoder?: boolean }).is_encoder_decoder === true;
  const prompt = inputs.input_ids.dims[1]!;
  const made = (await model.generate({
    ...inputs,
    do_sample: false,
    max_new_tokens: count + Number(apart),
    eos_token_id: null,
  } as never)) as Tensor;
  await model.dispose();
  // The start of an answer that is a sequence of its own, and the token that it is made to begin with.
  const ids = Array.from(made.data as BigInt64Array, Number).slice(apart ? 2 : prompt);
  const bytesOf = tokenBytes(tokenizer);
  return { tokens: ids.map((id) => [...bytesOf(id)]), inputTokens: prompt };
}
