import type { InspectionRoute } from '../../context.ts';
import { explainReport as explain } from '../../domain/explain-report.ts';

export const explainReport: InspectionRoute<'explainReport'> =
  (context) =>
  async ({ id }, call) => ({ report: await explain(context, id, call) });
