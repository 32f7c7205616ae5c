import type { ProfileSpec } from '@landfall/proto/landfall/vision/v1/profile_pb.js';
import { figureExplained } from './figure-explained.ts';
import { scanReport } from './scan-report.ts';
import { surface, surfaceEn } from './surface.ts';

/** Profiles that every tenant has, by name. */
export const builtInProfiles: Readonly<Record<string, ProfileSpec>> = Object.assign(Object.create(null), {
  'figure-explained': figureExplained,
  'scan-report': scanReport,
  surface,
  'surface-en': surfaceEn,
});
