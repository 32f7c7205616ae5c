import type { Route } from '../context.ts';
import { importModel as importFiles } from '../domain/import.ts';

export const importModel: Route<'importModel'> =
  (context) =>
  (request, { identity, signal }) =>
    importFiles(context, identity, request, () => {}, signal);
