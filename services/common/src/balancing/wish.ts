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
  /** Its place among all callers in [0, 1): those below a canary's share go there. */
  readonly place: number;
  /** Whether its text may be given to a replica outside. */
  mayLeave(): boolean;
}

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
  const size = {
    promptTokens: Math.ceil(bytes / BYTES_PER_TOKEN),
    outputTokens: (sampling?.maxTokens ?? DEFAULT_OUTPUT_TOKENS) * (sampling?.n ?? 1),
  };
  const { tenant } = identity;
  const asks = new Map<string, Ask>();
  let leaves: boolean | undefined;
  return {
    ask(model) {
      const known = asks.get(model);
      if (known) return known;
      const ask = { ...size, prefixKeys: prefixKeys({ model, tenant, messages, prompt }) };
      asks.set(model, ask);
      return ask;
    },
    place: placeOf(identity),
    mayLeave: () => {
      leaves ??= mayLeave !== undefined && textsOf(request).every(mayLeave);
      return leaves;
    },
  };
}

/** Of any other call: nothing is known of its work, and it never leaves. */
export function plainWish(identity: Identity): Wish {
  return { ask: () => UNKNOWN_ASK, place: placeOf(identity), mayLeave: () => false };
}

/** One subject always gets the same answers; a service's own calls belong to nobody. */
function placeOf({ subject, tenant }: Identity): number {
  if (subject === '' || subject.startsWith('service:')) return Math.random();
  return shareOf(`${tenant}\n${subject}`);
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
