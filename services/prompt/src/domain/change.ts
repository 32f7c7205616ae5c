import type { JsonValue } from '@bufbuild/protobuf';
import { ChangeKind } from '@landfall/proto/landfall/prompt/v1/prompt_pb.js';

/** One thing that a draft does otherwise than another. */
export interface Found {
  path: string;
  kind: ChangeKind;
  description: string;
  before: JsonValue | undefined;
  after: JsonValue | undefined;
}

export const changed = (
  path: string,
  kind: ChangeKind,
  description: string,
  before: JsonValue | undefined,
  after: JsonValue | undefined,
): Found => ({ path, kind, description, before, after });

/** The weightiest of the changes; UNSPECIFIED where there is none. */
export const weightOf = (found: readonly Found[]): ChangeKind =>
  found.reduce<ChangeKind>((most, { kind }) => Math.max(most, kind), ChangeKind.UNSPECIFIED);

/** JSON with members in order, so that equal values are equal texts. */
export function json(value: JsonValue | undefined): string {
  return JSON.stringify(value ?? null, (_key, inner) =>
    typeof inner === 'object' && inner !== null && !Array.isArray(inner)
      ? Object.fromEntries(Object.entries(inner).sort(([a], [b]) => (a < b ? -1 : 1)))
      : inner,
  );
}
