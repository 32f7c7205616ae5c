import { readFileSync, writeFileSync } from 'node:fs';
import { create } from '@bufbuild/protobuf';
import { readPromptFile } from '@landfall/prompt/files/prompt-file.ts';
import {
  type Change,
  DiffLine_Side as Side,
  type TurnDiff,
} from '@landfall/proto/landfall/prompt/v1/change_pb.js';
import {
  ExportPromptResponseSchema,
  ImportPromptResponseSchema,
  InstallFromLibraryResponseSchema,
  ListLibraryResponseSchema,
} from '@landfall/proto/landfall/prompt/v1/library_service_pb.js';
import { ChangeKind, PromptTask } from '@landfall/proto/landfall/prompt/v1/prompt_pb.js';
import {
  DiffVersionsResponseSchema,
  LintPromptResponseSchema,
  ListVersionsResponseSchema,
  PromptDraftSchema,
} from '@landfall/proto/landfall/prompt/v1/prompt_service_pb.js';
import { type Command, type Session, textOf } from '../command.ts';
import { member, table } from '../render.ts';
import { time } from './prompt-targets.ts';
import { promptOf } from './prompts.ts';

const IS_FILE = /\.(md|ya?ml)$/;
const MARKS: Record<Side, string> = {
  [Side.UNSPECIFIED]: ' ',
  [Side.BOTH]: ' ',
  [Side.REMOVED]: '-',
  [Side.ADDED]: '+',
};

const shownChange = ({ kind, path, description }: Change) =>
  `${member(ChangeKind, kind).padEnd(6)} ${path}: ${description}`;

function shownTurn({ role, before, after, lines }: TurnDiff): string {
  const place = (i: number | undefined) => (i === undefined ? 'none' : String(i));
  const head = `@@ ${role} ${place(before)} → ${place(after)}`;
  return [head, ...lines.map(({ side, text }) => `${MARKS[side]}${text}`)].join('\n');
}

/** A draft of a file, or of a version in the mesh. */
async function draftOf(session: Session) {
  const [where] = session.args;
  if (IS_FILE.test(where!)) {
    const { draft, task } = readPromptFile(readFileSync(where!, 'utf8'), where!);
    return { draft: draft!, task };
  }
  const { prompt, version } = await session.clients.prompt.getPrompt(promptOf(where!));
  const {
    messages,
    variables,
    sampling,
    changeLog,
    format,
    outputContract,
    fewShot,
    selfConsistency,
    tests,
  } = version!;
  const parts = { messages, variables, changeLog, format, tests };
  const optional = Object.entries({ sampling, outputContract, fewShot, selfConsistency }).filter(
    ([, part]) => part,
  );
  return {
    draft: create(PromptDraftSchema, { ...parts, ...Object.fromEntries(optional) }),
    task: prompt!.task,
  };
}

export const promptContentCommands: Record<string, Command> = {
  'prompts lint': {
    usage: 'prompts lint NAME|FILE',
    summary:
      'What a prompt lacks of the four principles, with text to put in. Exit code 1 where it lacks something.',
    arguments: ['NAME|FILE'],
    options: {},
    meaning: {},
    example: 'prompts lint triage.prompt.md',
    async run(session) {
      const reply = await session.clients.prompt.lintPrompt(await draftOf(session));
      session.print(LintPromptResponseSchema, reply, () =>
        reply.findings.length === 0
          ? `nothing is missing of a prompt for ${member(PromptTask, reply.task)}`
          : reply.findings
              .map(({ principle, check, field, message, proposal }) =>
                [
                  `${principle}/${check} (${field}): ${message}`,
                  ...proposal.split('\n').map((line) => `    ${line}`),
                ].join('\n'),
              )
              .join('\n'),
      );
      if (reply.findings.length > 0) throw new Error(`${reply.findings.length} to mend`);
    },
  },
  'prompts versions': {
    usage: 'prompts versions NAME',
    summary: 'Versions of a prompt with what each changed, the newest first.',
    arguments: ['NAME'],
    options: {},
    meaning: {},
    example: 'prompts versions triage',
    async run(session) {
      const reply = await session.clients.prompt.listVersions({ name: session.args[0]!, pageSize: 100 });
      session.print(ListVersionsResponseSchema, reply, () =>
        table(
          ['VERSION', 'CHANGE', 'AUTHOR', 'TIME', 'LABELS', 'FROM', 'CHANGE LOG'],
          reply.versions.map(({ version, change, author, createTime, labels, origin, changeLog }) => [
            ...[version, member(ChangeKind, change), author, time(createTime), labels.join(' '), origin],
            changeLog.split('\n')[0]!,
          ]),
        ),
      );
    },
  },
  'prompts diff': {
    usage: 'prompts diff NAME [FROM] [TO]',
    summary:
      'What a version does otherwise than the one before it, or than another; lines of turns with - and +.',
    arguments: ['NAME'],
    rest: true,
    options: { draft: { type: 'string' } },
    meaning: { draft: 'compare with this saved draft in place of TO' },
    example: 'prompts diff triage 1.0.0 @production',
    async run(session) {
      const [name, from = '', to = ''] = session.args;
      const asked = { name: name!, from, to, toDraft: textOf(session.values, 'draft') };
      const reply = await session.clients.prompt.diffVersions(asked);
      session.print(DiffVersionsResponseSchema, reply, () =>
        [
          `${name} ${reply.from} → ${reply.to || asked.toDraft}: ${member(ChangeKind, reply.kind)}`,
          ...reply.changes.map(shownChange),
          ...reply.turns.map(shownTurn),
        ].join('\n'),
      );
    },
  },
  'prompts export': {
    usage: 'prompts export NAME',
    summary: 'A version as a file for review in git, on standard output or into a file.',
    arguments: ['NAME'],
    options: { out: { type: 'string' } },
    meaning: { out: 'file to write' },
    example: 'prompts export triage@production --out triage.prompt.md',
    async run(session) {
      const reply = await session.clients.promptLibrary.exportPrompt(promptOf(session.args[0]!));
      const out = textOf(session.values, 'out');
      if (out) writeFileSync(out, reply.content);
      session.print(ExportPromptResponseSchema, reply, () =>
        out ? `${out} holds ${session.args[0]} at ${reply.version}` : reply.content.trimEnd(),
      );
    },
  },
  'prompts import': {
    usage: 'prompts import FILE',
    summary:
      'Makes the version that a file holds, and the prompt where there is none; a repeat changes nothing.',
    arguments: ['FILE'],
    options: { name: { type: 'string' }, folder: { type: 'string' } },
    meaning: { name: "name of the prompt in place of the file's", folder: 'folder of a new prompt' },
    example: 'prompts import triage.prompt.md --folder support',
    async run(session) {
      const reply = await session.clients.promptLibrary.importPrompt({
        content: readFileSync(session.args[0]!, 'utf8'),
        name: textOf(session.values, 'name'),
        folder: textOf(session.values, 'folder'),
      });
      const { name, version } = reply.version!;
      session.print(ImportPromptResponseSchema, reply, () =>
        [
          `${name}/${version} ${reply.created ? 'is made' : 'is there already'}`,
          ...reply.changes.map(shownChange),
        ].join('\n'),
      );
    },
  },
  'prompts library': {
    usage: 'prompts library',
    summary: 'Ready prompts to install.',
    arguments: [],
    options: { language: { type: 'string' } },
    meaning: { language: 'only zh or en' },
    example: 'prompts library --language zh',
    async run(session) {
      const language = textOf(session.values, 'language');
      const reply = await session.clients.promptLibrary.listLibrary({ language });
      session.print(ListLibraryResponseSchema, reply, () =>
        table(
          ['NAME', 'VERSION', 'LANGUAGE', 'TASK', 'DESCRIPTION'],
          reply.entries.map((entry) => [
            ...[entry.name, entry.version, entry.language, member(PromptTask, entry.task), entry.description],
          ]),
        ),
      );
    },
  },
  'prompts install': {
    usage: 'prompts install ENTRY',
    summary: 'Copies a ready prompt of the library into the tenant.',
    arguments: ['ENTRY'],
    options: { name: { type: 'string' }, folder: { type: 'string' } },
    meaning: { name: "name of the prompt in place of the entry's", folder: 'folder of a new prompt' },
    example: 'prompts install classification-zh --name triage',
    async run(session) {
      const asked = { name: textOf(session.values, 'name'), folder: textOf(session.values, 'folder') };
      const reply = await session.clients.promptLibrary.installFromLibrary({
        ...asked,
        entry: session.args[0]!,
      });
      const { name, version, origin } = reply.version!;
      session.print(
        InstallFromLibraryResponseSchema,
        reply,
        () => `${name}/${version} ${reply.created ? 'is made' : 'is there already'} (${origin})`,
      );
    },
  },
};
