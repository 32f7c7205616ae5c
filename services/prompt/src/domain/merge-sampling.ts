import { create } from '@bufbuild/protobuf';
import {
  type SamplingOptions,
  SamplingOptionsSchema,
} from '@landfall/proto/landfall/text/v1/generation_pb.js';

/** A version's sampling with what a call sets in place of it, field by field. */
export function mergeSampling(
  base: SamplingOptions | undefined,
  own: SamplingOptions | undefined,
): SamplingOptions {
  const merged = create(SamplingOptionsSchema, base);
  for (const [key, value] of Object.entries(own ?? {})) {
    const empty = value === undefined || (Array.isArray(value) && value.length === 0) || value === false;
    if (!key.startsWith('$') && !empty) Object.assign(merged, { [key]: value });
  }
  return merged;
}
