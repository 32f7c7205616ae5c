import { failedPrecondition } from '@landfall/common/errors/errors.ts';
import { findPersonalData, NUMBERED_TYPES, type PersonalDataType } from '@landfall/masking/mask.ts';
import type { GenerateRequest } from '@landfall/proto/landfall/text/v1/text_inference_service_pb.js';

/** Kinds of personal data in a text, passports' numbers included: what leaves can't be taken back. */
function personalData(text: string): PersonalDataType[] {
  return findPersonalData(text, NUMBERED_TYPES).map(({ type }) => type);
}

/** Whether a text may go to a server out of the house. */
export function mayLeave(text: string): boolean {
  return personalData(text).length === 0;
}

/**
 * Lets a request go out of the house only without personal data, wherever in it that stands. An image is taken for
 * personal, since nobody knows who or what is in it, unless the operator has said otherwise.
 * @throws LandfallError FAILED_PRECONDITION, reason PERSONAL_DATA: whoever called may ask a private replica. It names
 * the kinds, never the data.
 */
export function checkMayLeave(request: GenerateRequest, images: boolean): void {
  const shows = request.messages.some((message) => message.images.length > 0);
  refuse([...new Set(textsOf(request).flatMap(personalData)), ...(shows && !images ? ['IMAGE'] : [])]);
}

/** The same of single texts. */
export function checkTextsMayLeave(texts: readonly string[]): void {
  refuse([...new Set(texts.flatMap(personalData))]);
}

function refuse(found: readonly string[]): void {
  if (found.length === 0) return;
  const kinds = found.join(', ');
  throw failedPrecondition(`the request holds personal data (${kinds}), which this replica may not pass on`, {
    reason: 'PERSONAL_DATA',
    metadata: { kinds },
  });
}

/** Every text of a request that a server would see. */
function textsOf({ messages, prompt, sampling, constraint }: GenerateRequest): string[] {
  const kind = constraint?.kind;
  const held =
    kind?.case === 'choice' ? kind.value.options : typeof kind?.value === 'string' ? [kind.value] : [];
  // What is cut into turns or parts by a client is looked at as one text too.
  const contents = messages.map(({ content }) => content);
  return [...contents, contents.join(''), prompt, ...(sampling?.stop ?? []), ...held];
}
