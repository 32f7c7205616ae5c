import { create } from '@bufbuild/protobuf';
import { Kind, type Model, VersionState } from '@landfall/proto/landfall/registry/v1/model_pb.js';
import {
  GetLineageResponseSchema,
  GetVersionResponseSchema,
  ListModelsResponseSchema,
  ListVersionsResponseSchema,
  SetAliasResponseSchema,
} from '@landfall/proto/landfall/registry/v1/registry_service_pb.js';
import { type Command, enumOf, partsOf, reference, type Session, textOf } from '../command.ts';
import { member, table } from '../render.ts';
import { time } from './prompt-targets.ts';

/** Lists models of a kind, or all. */
export async function listModels(session: Session, kind: Kind): Promise<void> {
  const models: Model[] = [];
  let pageToken = '';
  do {
    const reply = await session.clients.registry.listModels({ kind, pageToken, pageSize: 100 });
    models.push(...reply.models);
    pageToken = reply.nextPageToken;
  } while (pageToken !== '');
  session.print(ListModelsResponseSchema, create(ListModelsResponseSchema, { models }), () =>
    table(
      ['NAME', 'KIND', 'LATEST', 'ALIASES', 'DESCRIPTION'],
      models.map((model) => [
        model.name,
        member(Kind, model.kind),
        model.latestVersion || (model.removeTime ? `none; goes ${time(model.removeTime)}` : ''),
        Object.entries(model.aliases)
          .map(([alias, version]) => `${alias}=${version}`)
          .join(' '),
        model.description,
      ]),
    ),
  );
}

export const modelCommands: Record<string, Command> = {
  'models list': {
    usage: 'models list',
    summary: 'Models, adapters and data sets that are registered.',
    arguments: [],
    options: { kind: { type: 'string' } },
    meaning: { kind: 'base, adapter or dataset' },
    example: 'models list --kind adapter',
    run: (session) =>
      listModels(session, session.values.kind ? enumOf(Kind, textOf(session.values, 'kind'), '--kind') : 0),
  },
  'models versions': {
    usage: 'models versions NAME',
    summary: 'Versions of a model, newest first, with their metrics.',
    arguments: ['NAME'],
    options: {},
    meaning: {},
    example: 'models versions medical',
    async run(session) {
      const reply = await session.clients.registry.listVersions({ name: session.args[0]!, pageSize: 100 });
      session.print(ListVersionsResponseSchema, reply, () =>
        table(
          ['VERSION', 'STATE', 'ALIASES', 'METRICS'],
          reply.versions.map(({ version, state, aliases, metrics }) => [
            version,
            member(VersionState, state),
            aliases.join(' '),
            Object.entries(metrics)
              .map(([name, value]) => `${name}=${Number(value.toPrecision(4))}`)
              .join(' '),
          ]),
        ),
      );
    },
  },
  'models show': {
    usage: 'models show REFERENCE',
    summary: 'A version with its files and what it was made from.',
    arguments: ['REFERENCE'],
    options: {},
    meaning: {},
    example: 'models show medical@production',
    async run(session) {
      const parts = partsOf(await reference(session, session.args[0]!));
      const reply = await session.clients.registry.getVersion(parts);
      const { version } = reply;
      session.print(GetVersionResponseSchema, reply, () =>
        [
          `${version!.ref}  ${member(Kind, version!.kind)}  ${member(VersionState, version!.state)}  ${version!.digest}`,
          version!.lineage?.base ? `base ${version!.lineage.base}` : '',
          version!.lineage?.parent ? `tuned on from ${version!.lineage.parent}` : '',
          ...(version!.lineage?.datasets ?? []).map(({ ref, role }) => `${role} ${ref}`),
          table(
            ['FILE', 'BYTES'],
            (version!.manifest?.files ?? []).map(({ path, sizeBytes }) => [path, `${sizeBytes}`]),
          ),
        ]
          .filter((line) => line !== '')
          .join('\n'),
      );
    },
  },
  'models lineage': {
    usage: 'models lineage REFERENCE',
    summary: 'What a version was made from and what was made from it, over any number of steps.',
    arguments: ['REFERENCE'],
    options: {},
    meaning: {},
    example: 'models lineage medical@production',
    async run(session) {
      const parts = partsOf(await reference(session, session.args[0]!));
      const reply = await session.clients.registry.getLineage(parts);
      session.print(GetLineageResponseSchema, reply, () =>
        table(
          ['FROM', 'RELATION', 'TO'],
          reply.edges.map(({ from, relation, to }) => [from, relation, to]),
        ),
      );
    },
  },
  'models alias': {
    usage: 'models alias REFERENCE ALIAS',
    summary: 'Points an alias at a version.',
    arguments: ['REFERENCE', 'ALIAS'],
    options: {},
    meaning: {},
    example: 'models alias medical/1.2.0 production',
    async run(session) {
      const parts = partsOf(await reference(session, session.args[0]!));
      const reply = await session.clients.registry.setAlias({ ...parts, alias: session.args[1]! });
      session.print(
        SetAliasResponseSchema,
        reply,
        () => `${parts.name}@${session.args[1]} is ${parts.version}`,
      );
    },
  },
};
