import { failedPrecondition } from '@landfall/common/errors/errors.ts';
import { findPersonalData, PERSONAL_DATA_TYPES, type PersonalDataType } from '@landfall/masking/mask.ts';
import type { GenerateRequest } from '@landfall/proto/landfall/text/v1/text_inference_service_pb.js';

/** Kinds of personal data in a text, passports' numbers included: what leaves can't be taken back. */
function personalData(text: string): PersonalDataType[] {
  return findPersonalData(text, PERSONAL_DATA_TYPES).map(({ type }) => type);
}

/** Whether a text may go to a server out of the house. */
export function mayLeave(text: string): boolean {
  return personalData(text).length === 0;
}

/**
 * Lets a request go out of the house only without personal data, wherever in it that stands.
 * @throws LandfallError FAILED_PRECONDITION, reason PERSONAL_DATA: whoever called may ask a private replica. It names
 * the kinds, never the data.
 */
export function checkMayLeave(request: GenerateRequest): void {
  const found = new Set(textsOf(request).flatMap(personalData));
  if (found.size === 0) return;
  const kinds = [...found].join(', ');
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
