import { invalidArgument, type LandfallError, notFound } from '@landfall/common/errors/errors.ts';
import { ImageError } from '@landfall/images/errors.ts';

export function profileNotFound(name: string): LandfallError {
  return notFound(`there is no profile '${name}'`, { reason: 'PROFILE_NOT_FOUND' });
}

export function profileVersionNotFound(name: string, version: number): LandfallError {
  return notFound(`profile '${name}' has no version ${version}`, { reason: 'PROFILE_VERSION_NOT_FOUND' });
}

/** @param field of the request that names it */
export function modelNotFound(field: string, ref: string): LandfallError {
  return notFound(`${field}: there is no model ${ref}`, { reason: 'MODEL_NOT_FOUND' });
}

export function reportNotFound(id: string): LandfallError {
  return notFound(`there is no report ${id}`, { reason: 'REPORT_NOT_FOUND' });
}

export function reviewNotFound(id: string): LandfallError {
  return notFound(`there is no review ${id}`, { reason: 'REVIEW_NOT_FOUND' });
}

/** What is wrong with an image, on its field; anything else as it is. */
export function imageRefused(field: string, cause: unknown): unknown {
  if (!(cause instanceof ImageError)) return cause;
  return invalidArgument(field, cause.message, {
    reason: 'BAD_IMAGE',
    metadata: { fault: cause.fault },
    cause,
  });
}

export function collectionNotFound(name: string): LandfallError {
  return notFound(`there is no collection '${name}'`, { reason: 'COLLECTION_NOT_FOUND' });
}
