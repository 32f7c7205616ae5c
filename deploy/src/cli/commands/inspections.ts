import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { basename, extname, join } from 'node:path';
import { toJson } from '@bufbuild/protobuf';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import { type Report, ReportSchema, Severity } from '@landfall/proto/landfall/vision/v1/inspection_pb.js';
import {
  type GetStatisticsResponse,
  GetStatisticsResponseSchema,
} from '@landfall/proto/landfall/vision/v1/inspection_service_pb.js';
import { type Command, numberOf, type Session, textOf, UsageError } from '../command.ts';
import { member, table } from '../render.ts';

export const inspectionCommands: Record<string, Command> = {
  inspect: {
    usage: 'inspect FILE...',
    summary: 'Inspects images by a profile: what is wrong, where, how bad, and what follows.',
    arguments: ['FILE'],
    rest: true,
    options: {
      profile: { type: 'string' },
      deployment: { type: 'string' },
      line: { type: 'string' },
      overlay: { type: 'string' },
    },
    meaning: {
      profile: 'profile of the product (surface)',
      deployment: "deployment or models:/name/version that looks (the profile's)",
      line: 'production line that the pieces come from',
      overlay: 'folder for images of where the model looked, FILE.overlay.png',
    },
    example: 'inspect piece.png --profile surface --deployment inspector --overlay seen',
    async run(session) {
      const reports: Record<string, unknown>[] = [];
      for (const file of session.args) {
        const report = await inspected(session, file);
        const { heatMap, ...rest } = report;
        const overlay = heatMap.length > 0 ? written(session, file, heatMap) : '';
        if (session.json) {
          const plain = toJson(ReportSchema, { ...rest, heatMap: new Uint8Array() }) as object;
          reports.push({ file, ...(overlay ? { overlay } : {}), ...plain });
          continue;
        }
        session.line(`${reports.length > 0 ? '\n' : ''}${file}  ${report.id}`);
        session.line(report.text);
        if (report.needsReview) session.line(`(review ${report.reviewId})`);
        if (overlay) session.line(overlay);
        reports.push({});
      }
      if (session.json) session.line(JSON.stringify({ reports }));
    },
  },
  'inspections statistics': {
    usage: 'inspections statistics PROFILE',
    summary: 'Reports and defects by line, and how often reports were wrong by what reviews decided.',
    arguments: ['PROFILE'],
    options: { line: { type: 'string' }, days: { type: 'string' } },
    meaning: { line: 'only this line', days: 'of the last so many days (all)' },
    example: 'inspections statistics surface --days 7',
    async run(session) {
      const { values, clients, args } = session;
      const days = numberOf(values, 'days');
      const reply = await clients.inspections.getStatistics({
        ...{ profile: args[0]!, line: textOf(values, 'line') },
        ...(days === undefined ? {} : { from: timestampFromMs(Date.now() - days * 86_400_000) }),
      });
      session.print(GetStatisticsResponseSchema, reply, () => statistics(reply));
    },
  },
};

function statistics({ reports, defects, rates }: GetStatisticsResponse): string {
  const percent = (share: number) => `${(share * 100).toFixed(1)} %`;
  const { reviews, falseAlarmRate, missRate } = rates!;
  return [
    table(
      ['LINE', 'REPORTS', 'DEFECTIVE', 'REVIEWED'],
      reports.map((row) => [row.line || '-', `${row.reports}`, `${row.defective}`, `${row.reviewed}`]),
    ),
    table(
      ['LINE', 'TYPE', 'SEVERITY', 'DEFECTS'],
      defects.map(({ line, type, severity, count }) => [
        line || '-',
        type,
        member(Severity, severity),
        `${count}`,
      ]),
    ),
    `by ${reviews} reviews: false alarms ${percent(falseAlarmRate)}, missed ${percent(missRate)}`,
  ].join('\n\n');
}

async function inspected({ clients, values, signal }: Session, file: string): Promise<Report> {
  const request = {
    image: { content: content(file) },
    profile: textOf(values, 'profile') || 'surface',
    deployment: textOf(values, 'deployment'),
    line: textOf(values, 'line'),
    item: basename(file),
    includeHeatMap: values.overlay !== undefined,
  };
  return (await clients.vision.inspect(request, { signal, timeoutMs: 300_000 })).report!;
}

function content(file: string): Uint8Array {
  try {
    return readFileSync(file);
  } catch (error) {
    throw new UsageError(`${file} can't be read (${(error as NodeJS.ErrnoException).code})`);
  }
}

function written({ values }: Session, file: string, heatMap: Uint8Array): string {
  const folder = textOf(values, 'overlay');
  mkdirSync(folder, { recursive: true });
  const target = join(folder, `${basename(file, extname(file))}.overlay.png`);
  writeFileSync(target, heatMap);
  return target;
}
