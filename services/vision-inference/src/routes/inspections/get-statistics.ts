import { timestampMs } from '@bufbuild/protobuf/wkt';
import { invalidArgument } from '@landfall/common/errors/errors.ts';
import type { InspectionRoute } from '../../context.ts';
import { findProfile } from '../../domain/profiles.ts';
import { type Range, statistics } from '../../domain/statistics.ts';

export const getStatistics: InspectionRoute<'getStatistics'> =
  ({ database }) =>
  ({ profile, line, from, to, bucket }, { identity: { tenant } }) =>
    database.read(async (em) => {
      await findProfile(em, tenant, profile);
      const range: Range = {
        ...{ tenant, profile, line, bucket },
        fromMs: from ? timestampMs(from) : 0,
        toMs: to ? timestampMs(to) : Date.now() + 1,
      };
      if (range.fromMs >= range.toMs) throw invalidArgument('to', 'is not after from');
      return statistics(em, range);
    });
