import { permissionDenied } from '@landfall/common/errors/errors.ts';
import type { Identity } from '@landfall/common/identity/identity.ts';
import { FIRST_TENANT } from '../keys/key-store.ts';

/**
 * Tenants are kept by those who run the mesh: administrators of its first tenant.
 * @throws LandfallError PERMISSION_DENIED
 */
export function requireOperator({ tenant }: Identity): void {
  if (tenant !== FIRST_TENANT) throw permissionDenied(`only administrators of ${FIRST_TENANT} keep tenants`);
}
