import { unimplemented } from '@landfall/common/errors/errors.ts';
import type { Route } from '../context.ts';

export const compareVersions: Route<'compareVersions'> = () => () => {
  throw unimplemented('CompareVersions');
};
