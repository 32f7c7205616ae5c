import type { CallContext } from '@landfall/common/rpc/call-context.ts';
import type { Report } from '@landfall/proto/landfall/vision/v1/inspection_pb.js';
import type { VisionContext } from '../context.ts';
import type { Span } from '../inspection/answer.ts';
import { explain } from '../inspection/attend.ts';
import { questionOf } from '../inspection/question.ts';
import { profileOfReport } from './profiles.ts';
import { findReport, reportReply } from './reports.ts';

/** A report with its heat map and grids. @throws LandfallError NOT_FOUND, FAILED_PRECONDITION without image or attention */
export async function explainReport(
  { database, images, replicas }: VisionContext,
  id: string,
  call: CallContext,
): Promise<Report> {
  const { tenant } = call.identity;
  const { row, report, prompt } = await database.read(async (em) => {
    const found = await findReport(em, tenant, id);
    const [reply] = await reportReply(em, [found]);
    const profile = await profileOfReport(em, tenant, found.profile, found.profileVersion);
    return { row: found, report: reply!, prompt: questionOf(profile.spec!).prompt };
  });
  const { bytes: image } = await images.read(row.imageDigest, call.signal);
  const { model, imageWidth: width, imageHeight: height, defects } = report;
  const spans = JSON.parse(row.spans) as Span[];
  const seen = { model, prompt, image, width, height, answer: row.answer, defects, spans };
  return Object.assign(report, { heatMap: await explain(replicas, seen, call) });
}
