import { create } from '@bufbuild/protobuf';
import { status } from '@grpc/grpc-js';
import { LandfallError } from '@landfall/common/errors/errors.ts';
import type { CallContext } from '@landfall/common/rpc/call-context.ts';
import { type Attempt, AttemptSchema } from '@landfall/proto/landfall/prompt/v1/prompt_pb.js';
import type {
  ChatMessage,
  OutputConstraint,
  SamplingOptions,
} from '@landfall/proto/landfall/text/v1/generation_pb.js';
import type { GenerateResponse } from '@landfall/proto/landfall/text/v1/text_inference_service_pb.js';
import type { PromptContext } from '../context.ts';
import { constrained } from './constrained.ts';

/** Failures of a deployment; everything else is wrong with the request, the caller or the time, and is so everywhere. */
const OF_THE_DEPLOYMENT: ReadonlySet<status> = new Set([
  status.UNAVAILABLE,
  status.RESOURCE_EXHAUSTED,
  status.NOT_FOUND,
  status.FAILED_PRECONDITION,
  status.INTERNAL,
  status.UNKNOWN,
  status.DATA_LOSS,
  status.ABORTED,
]);

/** What a model is asked. */
export interface Question {
  /** The rendered turns. */
  messages: ChatMessage[];
  sampling: SamplingOptions;
  /** A language that the answer is held to where the backend can; absent for none. */
  constraint?: OutputConstraint | undefined;
  /** Below 0 gives way to live calls; 0 when absent. */
  priority?: number;
}

/** Where to ask, in order. */
export interface Route {
  deployments: readonly string[];
  /** Whether a deployment that fails in the middle of its answer is replaced too. */
  afterFirstToken: boolean;
}

/** A part of an answer, or word that what came before is void since another deployment begins. */
export type Part = { reset: false; part: GenerateResponse } | { reset: true };

/** What is learnt on the way. */
export interface Journey {
  /** Who is being asked, or has answered. */
  deployment: string;
  failed: Attempt[];
}

/**
 * Asks the deployments in order until one answers.
 * @throws LandfallError the last one's failure, or the first that is not a deployment's
 */
export async function* answerByOneOf(
  context: Pick<PromptContext, 'replicas'>,
  { deployments, afterFirstToken }: Route,
  question: Question,
  call: CallContext,
  journey: Journey,
): AsyncGenerator<Part> {
  for (const [i, deployment] of deployments.entries()) {
    journey.deployment = deployment;
    let begun = false;
    try {
      for await (const part of constrained(context, deployment, question, call)) {
        begun ||= part.delta !== '';
        yield { reset: false, part };
      }
      return;
    } catch (cause) {
      const isLast = i === deployments.length - 1;
      const stays = isLast || (begun && !afterFirstToken) || call.signal.aborted || !isOfTheDeployment(cause);
      if (stays) throw cause;
      journey.failed.push(attemptOf(deployment, cause));
      if (begun) yield { reset: true };
    }
  }
}

function isOfTheDeployment(cause: unknown): boolean {
  return !(cause instanceof LandfallError) || OF_THE_DEPLOYMENT.has(cause.code);
}

function attemptOf(deployment: string, cause: unknown): Attempt {
  const known = cause instanceof LandfallError ? cause : undefined;
  return create(AttemptSchema, {
    deployment,
    error: known ? status[known.code] : 'INTERNAL',
    message: known ? known.message.slice(0, 500) : 'internal error',
  });
}
