import type { CatalogRoute } from '../context.ts';
import { storageOfModels, storageOfVersions } from '../domain/storage.ts';

export const getStorage: CatalogRoute<'getStorage'> =
  ({ database }) =>
  ({ name, ...page }, { identity: { tenant } }) =>
    database.read((em) =>
      name === '' ? storageOfModels(em, tenant, page) : storageOfVersions(em, tenant, name, page),
    );
