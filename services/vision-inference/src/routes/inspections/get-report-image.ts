import type { InspectionRoute } from '../../context.ts';
import { findReport } from '../../domain/reports.ts';

export const getReportImage: InspectionRoute<'getReportImage'> =
  ({ database, images }) =>
  async ({ id }, { identity, signal }) => {
    const { imageDigest } = await database.read((em) => findReport(em, identity.tenant, id));
    const { bytes: content, mediaType } = await images.read(imageDigest, signal);
    return { image: { content }, mediaType };
  };
