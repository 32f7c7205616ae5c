/** What a client may hold the output to. */

export type Constraint =
  | { kind: 'jsonSchema'; schema: string }
  | { kind: 'jsonObject' }
  | { kind: 'regex'; pattern: string }
  | { kind: 'choice'; options: string[] };

/** The constraint can't be compiled; the message names the place in it. */
export class ConstraintError extends Error {
  override name = 'ConstraintError';
}
