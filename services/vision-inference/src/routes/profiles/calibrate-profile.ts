import { create, toJsonString } from '@bufbuild/protobuf';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import { once } from '@landfall/common/db/idempotency.ts';
import { failedPrecondition } from '@landfall/common/errors/errors.ts';
import { CalibrationSchema } from '@landfall/proto/landfall/vision/v1/profile_pb.js';
import {
  CalibrateProfileRequestSchema,
  CalibrateProfileResponseSchema,
  CalibrationMethod,
} from '@landfall/proto/landfall/vision/v1/profile_service_pb.js';
import { decidedClaims } from '../../calibration/claims.ts';
import { fitIsotonic, fitNothing } from '../../calibration/fit.ts';
import { fitPlatt, fitTemperature } from '../../calibration/fit-logits.ts';
import { chooseFit, judgedFit, truthOf } from '../../calibration/judge-fit.ts';
import type { ProfileRoute } from '../../context.ts';
import { CalibrationEntity } from '../../db/profile-entities.ts';
import { profileChanged } from '../../domain/profile-changes.ts';
import { findProfile } from '../../domain/profiles.ts';
import { askedBy } from '../../inspection/question.ts';

const FEWEST = 20;
/** A curve of its own needs more than one number does. */
const ENOUGH_FOR_ISOTONIC = 200;
const FITS = {
  [CalibrationMethod.TEMPERATURE]: fitTemperature,
  [CalibrationMethod.ISOTONIC]: fitIsotonic,
  [CalibrationMethod.PLATT]: fitPlatt,
};
/** The simplest first. */
const BY_LOG_ODDS = [fitNothing, fitTemperature, fitPlatt];

export const calibrateProfile: ProfileRoute<'calibrateProfile'> =
  ({ database }) =>
  async (request, { identity }) => {
    const { tenant } = identity;
    const { name, model, method, requestId } = request;
    const call = {
      ...{ tenant, requestId, method: 'landfall.vision.v1.ProfileService/CalibrateProfile' },
      ...{ input: CalibrateProfileRequestSchema, output: CalibrateProfileResponseSchema },
    };
    return database.transaction((em) =>
      once(em, call, request, async () => {
        const { version, spec } = await findProfile(em, tenant, name);
        const asked = askedBy(spec!);
        const { claims, reviews } = await decidedClaims(em, tenant, name, model, asked);
        if (reviews < FEWEST) {
          throw failedPrecondition(
            `${reviews} reviews of ${model}, asked as '${name}' asks now, are decided; at least ${FEWEST} are needed`,
            { reason: 'TOO_FEW_REVIEWS' },
          );
        }
        if (new Set(claims.map(({ right }) => right)).size < 2) {
          throw failedPrecondition('all reviews say the same of the model: review some of the others too', {
            reason: 'REVIEWS_ALL_ALIKE',
          });
        }
        const before = truthOf(claims);
        const { fit, after } =
          method === CalibrationMethod.UNSPECIFIED
            ? chooseFit(claims, reviews >= ENOUGH_FOR_ISOTONIC ? [...BY_LOG_ODDS, fitIsotonic] : BY_LOG_ODDS)
            : judgedFit(claims, FITS[method]);
        const calibration = create(CalibrationSchema, {
          ...{ model, reviews, ...asked, ...fit },
          ...{ errorBefore: before.error, logLossBefore: before.logLoss },
          ...{ errorAfter: after.error, logLossAfter: after.logLoss },
          time: timestampFromMs(Date.now()),
        });
        const content = toJsonString(CalibrationSchema, calibration);
        await em.upsert(CalibrationEntity, { tenant, profile: name, model, content, createdMs: Date.now() });
        await profileChanged(em, identity, { name, version, change: 'calibrated' });
        return create(CalibrateProfileResponseSchema, { calibration });
      }),
    );
  };
