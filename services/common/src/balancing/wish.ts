import type { Message } from '@bufbuild/protobuf';
import type { GenerateRequest } from '@landfall/proto/landfall/text/v1/text_inference_service_pb.js';
import type { Identity } from '../identity/identity.ts';
import { type Ask, BYTES_PER_TOKEN, UNKNOWN_ASK } from './cost.ts';
import { shareOf } from './fnv.ts';
import { prefixKeys } from './prefix-keys.ts';

/** What a call means for the choice of who answers it. */
export interface Wish {
  /** What it asks of a replica that answers with this model. */
  ask(model: string): Ask;
  /** Its place among all calls in [0, 1), the same for all of a conversation: those below a canary's share go there. */
  readonly place: number;
  /** Whether it may be given to a replica outside: its texts, and no image, since nobody knows who is in it. */
  mayLeave(): boolean;
}

/** What an image is taken for: the patches of CLIP's large tower at 336 pixels. */
const IMAGE_TOKENS = 576;
/** New tokens where a request names no number. */
const DEFAULT_OUTPUT_TOKENS = 256;

/** Of a generation. @param mayLeave asked for each of its texts; undefined lets none leave */
export function generationWish(
  request: GenerateRequest,
  identity: Identity,
  mayLeave: ((text: string) => boolean) | undefined,
): Wish {
  const { messages, prompt, sampling } = request;
  const bytes = messages.reduce(
    (sum, { content }) => sum + Buffer.byteLength(content),
    Buffer.byteLength(prompt),
  );
  const images = messages.reduce((sum, message) => sum + message.images.length, 0);
  const size = {
    promptTokens: Math.ceil(bytes / BYTES_PER_TOKEN) + images * IMAGE_TOKENS,
    outputTokens: (sampling?.maxTokens ?? DEFAULT_OUTPUT_TOKENS) * (sampling?.n ?? 1),
  };
  const { tenant } = identity;
  const asks = new Map<string, Ask>();
  let place: number | undefined;
  let leaves: boolean | undefined;
  return {
    ask(model) {
      const known = asks.get(model);
      if (known) return known;
      const ask = { ...size, prefixKeys: prefixKeys({ model, tenant, messages, prompt }) };
      asks.set(model, ask);
      return ask;
    },
    get place() {
      place ??= placeOf(identity, request);
      return place;
    },
    mayLeave: () => {
      leaves ??=
        mayLeave !== undefined &&
        messages.every(({ images }) => images.length === 0) &&
        textsOf(request).every(mayLeave);
      return leaves;
    },
  };
}

/** Of any other call: nothing is known of its work, and it never leaves. */
export function plainWish(): Wish {
  return { ask: () => UNKNOWN_ASK, place: Math.random(), mayLeave: () => false };
}

/**
 * A conversation stays with the model that began it, and so does a prompt that is asked again; what else a subject asks
 * is spread, so that a single key's calls are a fair sample. A conversation is told by its caller and by what stands
 * before its first answer, which every later turn repeats. A service's own calls belong to nobody.
 */
function placeOf({ subject, tenant }: Identity, { messages, prompt }: GenerateRequest): number {
  if (subject === '' || subject.startsWith('service:')) return Math.random();
  const answer = messages.findIndex(({ role }) => role === 'assistant');
  const beginning = answer < 0 ? messages : messages.slice(0, answer);
  const texts = beginning.map(({ role, content }) => [role, content]);
  return shareOf(JSON.stringify([tenant, subject, texts, prompt]));
}

/** Every text of a message that its caller has written, in whatever field, however deep, unknown ones too. */
export function textsOf(message: Message): string[] {
  const texts: string[] = [];
  const walk = (value: unknown): void => {
    if (typeof value === 'string') texts.push(value);
    else if (value instanceof Uint8Array) texts.push(Buffer.from(value).toString());
    else if (Array.isArray(value)) for (const each of value) walk(each);
    else if (value !== null && typeof value === 'object') {
      for (const [name, each] of Object.entries(value)) if (name !== '$typeName') walk(each);
    }
  };
  walk(message);
  return texts;
}
