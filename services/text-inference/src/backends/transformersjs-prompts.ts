/** What requests become for an exported model: tokens, and what its graphs take of images. */

import { invalidArgument } from '@landfall/common/errors/errors.ts';
import type { GenerateRequest } from '@landfall/proto/landfall/text/v1/text_inference_service_pb.js';
import type { Constraint } from '../engine/grammar/constraint.ts';
import type { GrammarSpec } from '../engine/grammar/grammar-state.ts';
import type { PromptInput } from '../engine/prompt.ts';
import { PromptThread } from '../engine/prompt-thread.ts';
import { promptInput } from '../generation.ts';
import { encodedImages, refuseImages } from '../image-rules.ts';
import type { PlainTensor } from './transformersjs-looks.ts';
import type { ExportedShape } from './transformersjs-protocol.ts';
import { type Sight, SightThread } from './transformersjs-sight.ts';
import { Turns } from './turns.ts';

/** One request that is computed and one whose images are ready: what images become is larger than they are. */
const MOST_SEEN = 2;

/** A grey picture of 64 x 64 pixels. */
const GREY_PNG =
  'iVBORw0KGgoAAAANSUhEUgAAAEAAAABACAMAAACdt4HsAAAAA1BMVEWIiIhYZW6zAAAAG0lEQVRYw+3BgQAAAADDoPlT3+AEVQEAAAB8AxBAAAEZszF2AAAAAElFTkSuQmCC';

const NOTHING: Sight = { tensors: {}, texts: [], outside: 0 };

/** Disposing of it lets the images of the next request be read. */
export interface PreparedPrompt extends AsyncDisposable {
  prompt: number[];
  completion: number[];
  seen: Record<string, PlainTensor>;
  /** Of prompt and images. */
  inputTokens: number;
  /** Tokens that prompt and answer may have together, so that the answer's own limit comes out. */
  contextLength: number;
}

type Asked = Pick<GenerateRequest, 'messages' | 'prompt'>;

export class ExportedPrompts {
  readonly #shape: ExportedShape;
  readonly #thread: PromptThread;
  readonly #sight: SightThread | undefined;
  readonly #turns = new Turns(MOST_SEEN);

  /** @param onLost called when the thread that reads images has ended by itself */
  static async start(
    folder: string,
    shape: ExportedShape,
    onLost: (reason: Error) => void,
  ): Promise<ExportedPrompts> {
    const { vision, contextLength } = shape;
    const sight = vision && (await SightThread.start({ folder, vision }));
    void sight?.lost.then(onLost);
    // Images that stand outside of the text take their places in the same context.
    const outside = vision && vision.token === '' ? (vision.sequenceLength ?? 0) : 0;
    try {
      const thread = await PromptThread.start({
        folder,
        contextLength: contextLength - outside,
        images: vision?.text,
      });
      return new ExportedPrompts(shape, thread, sight);
    } catch (error) {
      await sight?.close();
      throw error;
    }
  }

  private constructor(shape: ExportedShape, thread: PromptThread, sight: SightThread | undefined) {
    this.#shape = shape;
    this.#thread = thread;
    this.#sight = sight;
  }

  /** @throws PromptError naming the field that it came in */
  compile(field: string, constraint: Constraint): Promise<GrammarSpec> {
    return this.#thread.compile(field, constraint);
  }

  /**
   * Reads the images of a request, when its turn has come, and makes tokens of its text.
   * @throws PromptError, LandfallError naming the field
   */
  async prepare(request: Asked, signal: AbortSignal, completion?: string): Promise<PreparedPrompt> {
    this.#checkImages(request.messages);
    const images = encodedImages(request.messages);
    const input = promptInput(request);
    if (images.length === 0) return this.#encode(input, NOTHING, () => {}, completion);
    const end = await this.#turns.take(signal);
    try {
      const sight = await this.#sight!.see(images, signal);
      return await this.#encode(input, sight, end, completion);
    } catch (error) {
      end();
      throw error;
    }
  }

  /** A question about a small picture, and an answer, for a model that reads images. */
  async probe(signal: AbortSignal): Promise<PreparedPrompt> {
    const image = { field: 'image', bytes: new Uint8Array(Buffer.from(GREY_PNG, 'base64')) };
    const sight = await this.#sight!.see([image], signal, true);
    const input = { messages: [{ role: 'user', content: '?', images: 1 }] };
    return this.#encode(input, sight, () => {}, '.');
  }

  async close(): Promise<void> {
    await this.#thread.close();
    await this.#sight?.close();
  }

  async #encode(
    input: PromptInput,
    { tensors, texts, outside }: Sight,
    end: () => void,
    answer: string | undefined,
  ): Promise<PreparedPrompt> {
    const { prompt, completion } = await this.#thread.encode(input, answer, texts);
    const { contextLength, answersApart } = this.#shape;
    return {
      prompt,
      completion,
      seen: tensors,
      inputTokens: prompt.length + outside,
      contextLength:
        answersApart === undefined ? contextLength : prompt.length + contextLength - answersApart,
      async [Symbol.asyncDispose]() {
        end();
      },
    };
  }

  #checkImages(messages: Asked['messages']): void {
    const { vision } = this.#shape;
    if (!vision) refuseImages(messages);
    const mostImages = vision?.mostImages;
    const count = messages.reduce((sum, { images }) => sum + images.length, 0);
    if (!vision || mostImages === undefined || count <= mostImages) return;
    const at = messages.findIndex(({ images }) => images.length > 0);
    throw invalidArgument(
      `messages[${at}].images`,
      `models of the type ${vision.family} read ${mostImages} image at a time; the request shows ${count}`,
    );
  }
}
