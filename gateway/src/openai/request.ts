import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { LandfallError } from '@landfall/common/errors/errors.ts';
import { validate } from '@landfall/common/rpc/validation.ts';
import type {
  ChatMessageSchema,
  SamplingOptionsSchema,
} from '@landfall/proto/landfall/text/v1/generation_pb.js';
import {
  type GenerateRequest,
  GenerateRequestSchema,
} from '@landfall/proto/landfall/text/v1/text_inference_service_pb.js';
import { type Json, modelName, optionalBoolean, optionalRecord } from './body.ts';
import { outputConstraint } from './constraint.ts';
import { BadRequest } from './errors.ts';
import { priority } from './sampling.ts';

/** What the routes read in ways of their own. */
export interface Ask {
  messages?: MessageInitShape<typeof ChatMessageSchema>[];
  prompt?: string;
  sampling: MessageInitShape<typeof SamplingOptionsSchema>;
}

/** A completion as it was asked for, in the mesh's own terms. */
export interface OpenAiRequest {
  /** Name of a deployment, or `models:/...`. */
  model: string;
  stream: boolean;
  /** Whether a stream ends with a chunk of token counts. */
  includeUsage: boolean;
  /** Parameter that asked for the output's constraint. */
  constraintParam: string | undefined;
  generate: GenerateRequest;
}

/**
 * What the body of a chat and of a text completion have in common, around what they ask.
 * @throws BadRequest that names the parameter.
 */
export function openAiRequest(body: Json, ask: Ask): OpenAiRequest {
  const constraint = outputConstraint(body);
  const options = optionalRecord(body, 'stream_options') ?? {};
  const request: OpenAiRequest = {
    model: modelName(body),
    stream: optionalBoolean(body, 'stream'),
    includeUsage: optionalBoolean(options, 'include_usage'),
    constraintParam: constraint?.param,
    generate: create(GenerateRequestSchema, {
      ...ask,
      priority: priority(body),
      ...(constraint ? { constraint: { kind: constraint.kind } } : {}),
    }),
  };
  checkRules(request);
  return request;
}

/** The contract's own rules, told in the parameters' names. */
function checkRules(request: OpenAiRequest): void {
  try {
    validate(GenerateRequestSchema, request.generate);
  } catch (cause) {
    throw inParams(cause, request);
  }
}

/** A failure that names fields of the mesh's request, told in the parameters that they came from. */
export function inParams(cause: unknown, { constraintParam }: OpenAiRequest): unknown {
  if (!(cause instanceof LandfallError)) return cause;
  const violation = cause.fieldViolations[0];
  if (!violation?.field) return cause;
  const { field, description } = violation;
  if (field.startsWith('constraint'))
    return new BadRequest(constraintParam ?? 'response_format', description);
  return new BadRequest(field.replace(/^sampling\./, ''), description);
}
