import { readFileSync } from 'node:fs';
import { fromJsonString, toJsonString } from '@bufbuild/protobuf';
import {
  type Calibration,
  CalibrationSchema,
  ProfileSchema,
  type ProfileSpec,
  ProfileSpecSchema,
} from '@landfall/proto/landfall/vision/v1/profile_pb.js';
import {
  CalibrationMethod,
  ListProfilesResponseSchema,
} from '@landfall/proto/landfall/vision/v1/profile_service_pb.js';
import { type Command, enumOf, numberOf, reference, textOf, UsageError } from '../command.ts';
import { table } from '../render.ts';

export const profileCommands: Record<string, Command> = {
  'profiles list': {
    usage: 'profiles list',
    summary: 'Profiles that images can be inspected by; version 0 is built in.',
    arguments: [],
    options: {},
    meaning: {},
    example: 'profiles list',
    async run(session) {
      const reply = await session.clients.profiles.listProfiles({ pageSize: 500 });
      session.print(ListProfilesResponseSchema, reply, () =>
        table(
          ['PROFILE', 'VERSION', 'LANGUAGE', 'DEPLOYMENT', 'ASKS FOR'],
          reply.profiles.map(({ name, version, spec }) => [
            ...[name, `${version}`, spec!.language, spec!.deployment],
            [...spec!.defectTypes.map((type) => type.name), ...spec!.sections.map(({ title }) => title)].join(
              ', ',
            ),
          ]),
        ),
      );
    },
  },
  'profiles show': {
    usage: 'profiles show NAME',
    summary: 'A profile as JSON, which `profiles put` takes after a change.',
    arguments: ['NAME'],
    options: { version: { type: 'string' } },
    meaning: { version: 'that version (the newest)' },
    example: 'profiles show surface > surface.json',
    async run(session) {
      const version = numberOf(session.values, 'version') ?? 0;
      const { profile } = await session.clients.profiles.getProfile({ name: session.args[0]!, version });
      session.print(ProfileSchema, profile!, () =>
        toJsonString(ProfileSpecSchema, profile!.spec!, { prettySpaces: 2 }),
      );
    },
  },
  'profiles put': {
    usage: 'profiles put NAME FILE',
    summary: 'Makes the next version of a profile from a JSON file.',
    arguments: ['NAME', 'FILE'],
    options: {},
    meaning: {},
    example: 'profiles put casting casting.json',
    async run(session) {
      const [name, file] = session.args as [string, string];
      const { profile } = await session.clients.profiles.putProfile({ name, spec: specOf(file) });
      session.print(ProfileSchema, profile!, () => `${name} has version ${profile!.version}`);
    },
  },
  'profiles delete': {
    usage: 'profiles delete NAME',
    summary: 'Takes a profile out of use; its reports stay.',
    arguments: ['NAME'],
    options: {},
    meaning: {},
    example: 'profiles delete casting',
    async run(session) {
      await session.clients.profiles.deleteProfile({ name: session.args[0]! });
      session.line(session.json ? '{}' : `${session.args[0]} is out of use`);
    },
  },
  'profiles calibrate': {
    usage: 'profiles calibrate NAME REFERENCE',
    summary: "Fits a model's confidences under a profile to what reviews have decided.",
    arguments: ['NAME', 'REFERENCE'],
    options: { method: { type: 'string' } },
    meaning: {
      method: 'temperature, platt or isotonic; without it the simplest that makes confidences as true as any',
    },
    example: 'profiles calibrate surface inspector/1.0.0',
    async run(session) {
      const model = await reference(session, session.args[1]!);
      const { method } = session.values;
      const { calibration } = await session.clients.profiles.calibrateProfile({
        ...{ name: session.args[0]!, model },
        ...(method
          ? { method: enumOf(CalibrationMethod, textOf(session.values, 'method'), '--method') }
          : {}),
      });
      session.print(CalibrationSchema, calibration!, () => {
        const { reviews, errorBefore, errorAfter, logLossBefore, logLossAfter } = calibration!;
        return [
          `by ${reviews} reviews: ${curveIn(calibration!)}`,
          `expected calibration error ${errorBefore.toFixed(3)} before, ${errorAfter.toFixed(3)} after`,
          `cross entropy ${logLossBefore.toFixed(3)} before, ${logLossAfter.toFixed(3)} after, on reviews not fitted to`,
        ].join('\n');
      });
    },
  },
};

function curveIn({ points, temperature, offset }: Calibration): string {
  if (points.length > 0) return `a curve of ${points.length} points`;
  if (temperature === 1 && offset === 0) return 'nothing makes confidences truer; they stay as they are';
  return `temperature ${temperature.toFixed(2)}, offset ${offset.toFixed(2)}`;
}

function specOf(file: string): ProfileSpec {
  try {
    return fromJsonString(ProfileSpecSchema, readFileSync(file, 'utf8'));
  } catch (error) {
    throw new UsageError(`${file} is no profile: ${error instanceof Error ? error.message : String(error)}`);
  }
}
