import { create } from '@bufbuild/protobuf';
import { unimplemented } from '@landfall/common/errors/errors.ts';
import type { CallContext } from '@landfall/common/rpc/call-context.ts';
import {
  EmbedRequestSchema,
  type EmbedResponse,
  VisionInferenceService,
} from '@landfall/proto/landfall/vision/v1/vision_inference_service_pb.js';
import type { GatewayContext } from '../context.ts';
import type { Governed } from '../edge/governance.ts';
import type { EdgeResponse } from '../edge/one-port.ts';
import { isModelName, optionalString, record, refuse } from './body.ts';
import { BadRequest } from './errors.ts';
import { sendJson } from './http.ts';

const MOST_TEXTS = 64;

/** `POST /v1/embeddings`: texts become vectors of length 1, by a CLIP model of the registry. */
export async function sendEmbeddings(
  { channels: { vision } }: GatewayContext,
  response: EdgeResponse,
  call: CallContext,
  governed: Governed,
  value: unknown,
): Promise<void> {
  const body = record(value, 'body');
  const { model } = body;
  if (typeof model !== 'string' || !model.startsWith('models:/') || !isModelName(model))
    throw new BadRequest('model', 'must be models:/name/version or models:/name@alias of a CLIP model');
  const texts = typeof body.input === 'string' ? [body.input] : body.input;
  const areTexts = Array.isArray(texts) && texts.every((text) => typeof text === 'string' && text !== '');
  if (!areTexts || texts.length === 0 || texts.length > MOST_TEXTS)
    throw new BadRequest(
      'input',
      `must be a text, or a list of 1 to ${MOST_TEXTS} texts; tokens are not taken`,
    );
  refuse(body, 'dimensions', () => false, 'is not served: vectors are as long as the model makes them');
  const format = optionalString(body, 'encoding_format') ?? 'float';
  if (format !== 'float' && format !== 'base64')
    throw new BadRequest('encoding_format', 'must be float or base64');
  if (!vision) throw unimplemented('embeddings are not part of this mesh');
  const method = VisionInferenceService.method.embed;
  const reply = (await governed.unary(
    create(EmbedRequestSchema, { model, texts: texts as string[] }),
    (passed) => vision.unary(method, passed as never, { context: call }),
  )) as EmbedResponse;
  const data = reply.embeddings.map(({ values }, index) => ({
    object: 'embedding',
    index,
    embedding: format === 'float' ? values : base64(values),
  }));
  // Its texts are cut to a fixed length and no tokens are told.
  sendJson(response, 200, {
    object: 'list',
    data,
    model: reply.model,
    usage: { prompt_tokens: 0, total_tokens: 0 },
  });
}

/** Float32, little-endian, as OpenAI's clients read it. */
function base64(values: readonly number[]): string {
  const bytes = Buffer.alloc(values.length * 4);
  values.forEach((value, i) => void bytes.writeFloatLE(value, i * 4));
  return bytes.toString('base64');
}
