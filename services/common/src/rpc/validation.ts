import type { DescMessage, Message } from '@bufbuild/protobuf';
import { createValidator, type Violation } from '@bufbuild/protovalidate';
import { status } from '@grpc/grpc-js';
import { LandfallError } from '../errors/errors.ts';

const validator = createValidator();

/** `spec.config.rank`, `stop[2]`, `labels["x"]`. */
function fieldPath(violation: Violation): string {
  return violation.field
    .map((part) => {
      if (part.kind === 'field') return `.${part.name}`;
      if (part.kind === 'oneof') return `.${part.name}`;
      if (part.kind === 'list_sub') return `[${part.index}]`;
      if (part.kind === 'map_sub') return `[${JSON.stringify(String(part.key))}]`;
      return '';
    })
    .join('')
    .replace(/^\./, '');
}

/**
 * Checks a message against the rules in its contract.
 * @throws LandfallError INVALID_ARGUMENT that names every field that breaks one.
 */
export function validate(schema: DescMessage, message: Message): void {
  const result = validator.validate(schema, message);
  if (result.kind === 'valid') return;
  if (result.kind === 'error') throw result.error;
  const fieldViolations = result.violations.map((v) => ({ field: fieldPath(v), description: v.message }));
  const summary = fieldViolations
    .map((v) => (v.field ? `${v.field}: ${v.description}` : v.description))
    .join('; ');
  throw new LandfallError(status.INVALID_ARGUMENT, summary, { reason: 'INVALID_ARGUMENT', fieldViolations });
}
