import { readFileSync } from 'node:fs';
import { fromJsonString, toJsonString } from '@bufbuild/protobuf';
import {
  CalibrationSchema,
  ProfileSchema,
  type ProfileSpec,
  ProfileSpecSchema,
} from '@landfall/proto/landfall/vision/v1/profile_pb.js';
import { ListProfilesResponseSchema } from '@landfall/proto/landfall/vision/v1/profile_service_pb.js';
import { type Command, numberOf, reference, UsageError } from '../command.ts';
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
    options: {},
    meaning: {},
    example: 'profiles calibrate surface inspector/1.0.0',
    async run(session) {
      const model = await reference(session, session.args[1]!);
      const { calibration } = await session.clients.profiles.calibrateProfile({
        name: session.args[0]!,
        model,
      });
      session.print(CalibrationSchema, calibration!, () => {
        const { reviews, errorBefore, errorAfter } = calibration!;
        return `by ${reviews} reviews: expected calibration error ${errorBefore.toFixed(3)} before, ${errorAfter.toFixed(3)} after`;
      });
    },
  },
};

function specOf(file: string): ProfileSpec {
  try {
    return fromJsonString(ProfileSpecSchema, readFileSync(file, 'utf8'));
  } catch (error) {
    throw new UsageError(`${file} is no profile: ${error instanceof Error ? error.message : String(error)}`);
  }
}
