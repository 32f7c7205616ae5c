import { targetOf } from '@landfall/common/balancing/target.ts';
import { invalidArgument } from '@landfall/common/errors/errors.ts';
import type { CallContext } from '@landfall/common/rpc/call-context.ts';
import { storedImage } from '@landfall/images/stored.ts';
import type {
  ChatRequest,
  ChatResponse,
} from '@landfall/proto/landfall/vision/v1/vision_inference_service_pb.js';
import type { VisionContext, VisionRoute } from '../context.ts';
import { type Turn, withImages } from '../domain/chat-turns.ts';
import { imageRefused } from '../errors.ts';

export const chat: VisionRoute<'chat'> = (context) => (request, call) => run(context, request, call);

async function* run(
  context: VisionContext,
  request: ChatRequest,
  call: CallContext,
): AsyncGenerator<Pick<ChatResponse, 'delta' | 'finishReason' | 'usage'>> {
  if (request.model === '') {
    throw invalidArgument('model', 'name a deployment, models:/name/version or models:/name@alias');
  }
  const taken = new Map<Uint8Array, Uint8Array>();
  const take = async (content: Uint8Array, field: string) => {
    taken.set(content, await upright(context, content, field, call));
  };
  for (const [i, { content }] of request.images.entries()) await take(content, `images[${i}].content`);
  for (const [i, { images }] of request.messages.entries()) {
    for (const [j, content] of images.entries()) await take(content, `messages[${i}].images[${j}]`);
  }
  const turns: Turn[] = request.messages.map(({ role, content, images }) => ({ role, content, images }));
  const messages = withImages(
    turns,
    request.images.map(({ content }) => content),
  ).map((turn) => ({ ...turn, images: turn.images.map((content) => taken.get(content)!) }));
  const { sampling } = request;
  const asked = { messages, ...(sampling ? { sampling } : {}) };
  for await (const part of context.replicas.generate(targetOf(request.model), asked, { context: call })) {
    const { delta, finishReason, usage } = part;
    // What only tells of the replica is of no use to who chats.
    if (delta !== '' || finishReason || usage) yield { delta, finishReason, usage };
  }
}

/** Checked before a replica has it, and without what its maker did not mean to send. */
async function upright(
  { decoding }: VisionContext,
  content: Uint8Array,
  field: string,
  { signal }: CallContext,
): Promise<Uint8Array> {
  return decoding.within(signal, async () => {
    try {
      return (await storedImage(content)).bytes;
    } catch (cause) {
      throw imageRefused(field, cause);
    }
  });
}
