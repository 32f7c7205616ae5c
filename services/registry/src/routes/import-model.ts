import type { Route } from '../context.ts';
import { importModel as importFolder } from '../domain/import.ts';

export const importModel: Route<'importModel'> =
  (context) =>
  (request, { identity: { tenant }, signal }) =>
    importFolder(context, tenant, request, signal);
