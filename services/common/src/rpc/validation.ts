import type { DescMessage, Message } from '@bufbuild/protobuf';
import { createValidator, type Violation } from '@bufbuild/protovalidate';
import { status } from '@grpc/grpc-js';
import { LandfallError } from '../errors/errors.ts';
import { Malformed } from './definition.ts';

const validator = createValidator();
/** A request of a million wrong items is told of the first ones: trailers have limits. */
const MOST_VIOLATIONS = 20;

/** `spec.config.rank`, `stop[2]`, `labels["x"]`. */
function fieldPath(violation: Violation): string {
  return violation.field
    .map((part) => {
      if (part.kind === 'field') return `.${part.name}`;
      if (part.kind === 'oneof') return `.${part.name}`;
      if (part.kind === 'list_sub') return `[${part.index}]`;
      if (part.kind === 'map_sub') return `[${JSON.stringify(String(part.key).slice(0, 64))}]`;
      return '';
    })
    .join('')
    .replace(/^\./, '');
}

/**
 * Checks a message against the rules in its contract.
 * @throws LandfallError INVALID_ARGUMENT that names every field that breaks one (the first 20).
 */
export function validate(schema: DescMessage, message: Message): void {
  const result = validator.validate(schema, message);
  if (result.kind === 'valid') return;
  if (result.kind === 'error') throw result.error;
  const told = result.violations.slice(0, MOST_VIOLATIONS);
  const fieldViolations = told.map((v) => ({ field: fieldPath(v), description: v.message }));
  const summary = fieldViolations.map((v) => (v.field ? `${v.field}: ${v.description}` : v.description));
  const more = result.violations.length - told.length;
  if (more > 0) summary.push(`and ${more} more`);
  throw new LandfallError(status.INVALID_ARGUMENT, summary.join('; '), {
    reason: 'INVALID_ARGUMENT',
    fieldViolations,
  });
}

/**
 * A request as it came, checked.
 * @throws LandfallError INVALID_ARGUMENT for bytes that are no such message, and for one that breaks its rules.
 */
export function checkRequest(schema: DescMessage, request: Message | Malformed): Message {
  if (request instanceof Malformed) {
    throw new LandfallError(status.INVALID_ARGUMENT, `the request is no ${schema.typeName}`, {
      reason: 'MALFORMED_REQUEST',
    });
  }
  validate(schema, request);
  return request;
}
