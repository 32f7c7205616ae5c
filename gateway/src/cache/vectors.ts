import { create } from '@bufbuild/protobuf';
import { shareOf } from '@landfall/common/balancing/fnv.ts';
import type { RpcChannel } from '@landfall/common/rpc/client.ts';
import { Role } from '@landfall/proto/landfall/mesh/v1/options_pb.js';
import {
  EmbedRequestSchema,
  VisionInferenceService,
} from '@landfall/proto/landfall/vision/v1/vision_inference_service_pb.js';
import { wordsOf } from './question.ts';

const DIMENSIONS = 256;
/** What a word counts that a question may have or not. */
const LIGHT_WEIGHT = 0.5;
/** A look for a similar question may not take longer than it is worth. */
const EMBED_MS = 2000;

/** Vectors of questions, by a model of the mesh or by their letters. */
export class QuestionVectors {
  readonly #vision: RpcChannel | undefined;

  constructor(vision: RpcChannel | undefined) {
    this.#vision = vision;
  }

  /**
   * A vector of length 1.
   * @param model `models:/...` of a CLIP model; empty for letters
   * @throws LandfallError what the service of embeddings answers; Error where the mesh has none
   */
  async of(tenant: string, model: string, text: string): Promise<Float32Array> {
    if (model === '') return letterVector(text);
    if (!this.#vision) throw new Error('embeddings are not part of this mesh');
    // The policy has chosen the model, whatever the caller may do with it; what it says of the text stays here.
    const identity = { subject: 'service:gateway', tenant, role: Role.SERVICE };
    const { embeddings } = await this.#vision
      .client(VisionInferenceService)
      .embed(create(EmbedRequestSchema, { model, texts: [text] }), { identity, timeoutMs: EMBED_MS });
    return Float32Array.from(embeddings[0]!.values);
  }
}

/**
 * One to three letters at a time of the words that carry meaning, and the other words as they are, for little; counted
 * in places that their hash tells (feature hashing; Weinberger et al. 2009).
 * @returns [DIMENSIONS], of length 1
 */
export function letterVector(text: string): Float32Array {
  const { meaning, light } = wordsOf(text);
  const vector = new Float32Array(DIMENSIONS);
  const count = (feature: string, weight: number) => {
    const hash = Math.floor(shareOf(feature) * 2 ** 32);
    // Its lowest bit is the sign, so that what falls on one place by chance cancels out.
    const place = (hash >>> 1) % DIMENSIONS;
    vector[place] = vector[place]! + (hash & 1 ? weight : -weight);
  };
  const letters = [...meaning.join(' ')];
  for (let i = 0; i < letters.length; i++) {
    for (let length = 1; length <= 3 && i + length <= letters.length; length++)
      count(letters.slice(i, i + length).join(''), 1);
  }
  for (const word of light) count(` ${word}`, LIGHT_WEIGHT);
  const norm = Math.hypot(...vector);
  return norm > 0 ? vector.map((value) => value / norm) : vector;
}
