import type { ReviewRoute } from '../../context.ts';
import { exportCorrections as exported } from '../../export/export-corrections.ts';

export const exportCorrections: ReviewRoute<'exportCorrections'> = (context) => (request, call) =>
  exported(context, request, call);
