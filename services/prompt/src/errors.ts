import { invalidArgument, type LandfallError, notFound } from '@landfall/common/errors/errors.ts';

/** A value that a template's variable can't take. */
export function badVariable(name: string, description: string): LandfallError {
  return invalidArgument(`variables.${name}`, description, { reason: 'BAD_VARIABLE' });
}

export function promptNotFound(name: string): LandfallError {
  return notFound(`there is no prompt '${name}'`, { reason: 'PROMPT_NOT_FOUND' });
}

export function versionNotFound(name: string, version: string): LandfallError {
  return notFound(`prompt '${name}' has no version '${version}'`, { reason: 'VERSION_NOT_FOUND' });
}
