import { createWriteStream } from 'node:fs';
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { Code, ConnectError } from '@connectrpc/connect';
import { Kind } from '@landfall/proto/landfall/registry/v1/model_pb.js';
import { CommitVersionResponseSchema } from '@landfall/proto/landfall/registry/v1/registry_service_pb.js';
import { PrepareDatasetResponseSchema } from '@landfall/proto/landfall/trainer/v1/trainer_service_pb.js';
import { type Command, listOf, numberOf, partsOf, patient, reference, textOf } from '../command.ts';
import { listModels } from './models.ts';

export const datasetCommands: Record<string, Command> = {
  'datasets list': {
    usage: 'datasets list',
    summary: 'Data sets that are registered.',
    arguments: [],
    options: {},
    meaning: {},
    example: 'datasets list',
    run: (session) => listModels(session, Kind.DATASET),
  },
  'datasets create': {
    usage: 'datasets create NAME FILE',
    summary: 'Registers a file of rows (JSON lines or a JSON array of question and answer, or of messages).',
    arguments: ['NAME', 'FILE'],
    options: { description: { type: 'string' } },
    meaning: { description: 'for people' },
    example: 'datasets create consultations rows.jsonl',
    async run(session) {
      const { registry } = session.clients;
      const [name, file] = session.args as [string, string];
      const content = await readFile(file);
      const description = textOf(session.values, 'description');
      await registry.createModel({ name, kind: Kind.DATASET, description }).catch((error: unknown) => {
        if (!(error instanceof ConnectError) || error.code !== Code.AlreadyExists) throw error;
      });
      const { version } = await registry.createVersion({ name, description });
      const header = { name, version: version!.version, path: path.basename(file) };
      await registry.putArtifact({ header, content });
      const reply = await registry.commitVersion({ name, version: version!.version });
      session.print(CommitVersionResponseSchema, reply, () => reply.version!.ref);
    },
  },
  'datasets prepare': {
    usage: 'datasets prepare REFERENCE',
    summary:
      'Checks, cleans, de-duplicates, masks and splits a data set into a new version; prints the report.',
    arguments: ['REFERENCE'],
    options: {
      'validation-share': { type: 'string' },
      seed: { type: 'string' },
      'not-in': { type: 'string', multiple: true },
      threshold: { type: 'string' },
      'keep-personal-data': { type: 'boolean' },
      'keep-near-duplicates': { type: 'boolean' },
      'keep-outliers': { type: 'boolean' },
      'dry-run': { type: 'boolean' },
    },
    meaning: {
      'validation-share': 'share of the rows for a validation set, 0 to below 1',
      seed: 'decides the split',
      'not-in': 'validation set whose questions training must not have; may be repeated',
      threshold: 'similarity from which rows count as near duplicates (0.85)',
      'keep-personal-data': 'do not mask',
      'keep-near-duplicates': 'leave near duplicates in',
      'keep-outliers': 'leave rows of unusual length in',
      'dry-run': 'only report',
    },
    example: 'datasets prepare consultations --validation-share 0.1 --seed 7',
    async run(session) {
      const { values } = session;
      const request = {
        dataset: await reference(session, session.args[0]!),
        dryRun: values['dry-run'] === true,
        options: {
          keepPersonalData: values['keep-personal-data'] === true,
          keepNearDuplicates: values['keep-near-duplicates'] === true,
          keepLengthOutliers: values['keep-outliers'] === true,
          nearDuplicateThreshold: numberOf(values, 'threshold') ?? 0,
          validationShare: numberOf(values, 'validation-share') ?? 0,
          seed: BigInt(numberOf(values, 'seed') ?? 0),
          validationDatasets: await Promise.all(
            listOf(values, 'not-in').map((ref) => reference(session, ref)),
          ),
        },
      };
      const reply = await session.clients.trainer.prepareDataset(request, patient(session));
      session.print(PrepareDatasetResponseSchema, reply, () =>
        [reply.report, reply.dataset, reply.validationDataset].filter((text) => text !== '').join('\n'),
      );
    },
  },
  'datasets download': {
    usage: 'datasets download REFERENCE PATH FILE',
    summary: 'Writes one file of a version (data.jsonl, report.md, ...) to disk.',
    arguments: ['REFERENCE', 'PATH', 'FILE'],
    options: {},
    meaning: {},
    example: 'datasets download consultations report.md report.md',
    async run(session) {
      const [ref, file, target] = session.args as [string, string, string];
      const parts = partsOf(await reference(session, ref));
      const chunks = session.clients.registry.downloadArtifact({ ...parts, path: file });
      const bytes = async function* () {
        for await (const { chunk } of chunks) yield chunk;
      };
      await pipeline(Readable.from(bytes()), createWriteStream(target));
      session.line(session.json ? JSON.stringify({ file: target }) : target);
    },
  },
};
