import { create } from '@bufbuild/protobuf';
import {
  CompareVersionsResponseSchema,
  GetModelCardResponseSchema,
  GetStorageResponseSchema,
  type MetricFilter,
  MetricFilterSchema,
  SearchVersionsResponseSchema,
  type StorageUse,
} from '@landfall/proto/landfall/registry/v1/catalog_service_pb.js';
import { Kind, Stage } from '@landfall/proto/landfall/registry/v1/model_pb.js';
import { type Command, enumOf, listOf, partsOf, reference, textOf, UsageError } from '../command.ts';
import { bytes, member, table } from '../render.ts';

/** `bleu>=30`, `perplexity<=9`, `bleu=30..40`. @throws UsageError */
function metricFilter(text: string): MetricFilter {
  const [, metric, low, high] =
    /^([A-Za-z][\w./@-]*)=(-?[\d.eE+-]*)\.\.(-?[\d.eE+-]*)$/.exec(text) ??
    /^([A-Za-z][\w./@-]*)>=(-?[\d.eE+-]+)()$/.exec(text) ??
    /^([A-Za-z][\w./@-]*)<=()(-?[\d.eE+-]+)$/.exec(text) ??
    [];
  const [min, max] = [low, high].map((bound) => (bound ? Number(bound) : undefined));
  const sound = [min, max].every((bound) => bound === undefined || Number.isFinite(bound));
  if (!metric || !sound || (min === undefined && max === undefined))
    throw new UsageError(`--metric is name>=30, name<=9 or name=30..40 and not '${text}'`);
  return create(MetricFilterSchema, {
    metric,
    ...(min !== undefined && { min }),
    ...(max !== undefined && { max }),
  });
}

const short = (value: number | undefined) => (value === undefined ? '' : `${Number(value.toPrecision(5))}`);

function storageRow({ name, version, versions, logicalBytes, storedBytes, ...rest }: StorageUse): string[] {
  const added = version === '' ? '' : bytes(rest.addedBytes);
  const label = version || name || 'all';
  return [label, `${versions}`, bytes(logicalBytes), bytes(storedBytes), bytes(rest.exclusiveBytes), added];
}

export const modelCatalogCommands: Record<string, Command> = {
  'models card': {
    usage: 'models card REFERENCE',
    summary: 'The card of a version, written from the facts, as Markdown.',
    arguments: ['REFERENCE'],
    options: {},
    meaning: {},
    example: 'models card medical@production',
    async run(session) {
      const parts = partsOf(await reference(session, session.args[0]!));
      const reply = await session.clients.catalog.getModelCard(parts);
      session.print(GetModelCardResponseSchema, reply, () => reply.card!.markdown.trimEnd());
    },
  },
  'models search': {
    usage: 'models search [TEXT]',
    summary: 'Versions by words, tags, base, metrics.',
    arguments: [],
    rest: true,
    options: {
      tag: { type: 'string', multiple: true },
      base: { type: 'string' },
      metric: { type: 'string', multiple: true },
      kind: { type: 'string' },
      stage: { type: 'string' },
      license: { type: 'string' },
      by: { type: 'string' },
      ascending: { type: 'boolean' },
      deprecated: { type: 'boolean' },
    },
    meaning: {
      tag: 'a tag, or a label as key=value; may be given again',
      base: 'reference of the base',
      metric: 'name>=30, name<=9 or name=30..40; may be given again',
      kind: 'base, adapter or dataset',
      stage: 'development, staging, production or archived',
      license: 'SPDX identifier',
      by: 'metric to sort by, highest first',
      ascending: 'lowest, or oldest, first',
      deprecated: 'deprecated versions too',
    },
    example: 'models search 高血压 --metric "bleu>=30" --by bleu',
    async run(session) {
      const { values } = session;
      const reply = await session.clients.catalog.searchVersions({
        text: session.args.join(' '),
        tags: listOf(values, 'tag'),
        base: await reference(session, textOf(values, 'base')),
        metrics: listOf(values, 'metric').map(metricFilter),
        kind: values.kind ? enumOf(Kind, textOf(values, 'kind'), '--kind') : Kind.UNSPECIFIED,
        stage: values.stage ? enumOf(Stage, textOf(values, 'stage'), '--stage') : Stage.UNSPECIFIED,
        license: textOf(values, 'license'),
        orderByMetric: textOf(values, 'by'),
        ascending: values.ascending === true,
        showDeprecated: values.deprecated === true,
        pageSize: 100,
      });
      session.print(SearchVersionsResponseSchema, reply, () => {
        const rows = reply.versions.map(({ ref, kind, stage, license, tags, metrics }) => [
          ref,
          member(Kind, kind),
          member(Stage, stage),
          license,
          tags.join(' '),
          Object.entries(metrics)
            .map(([name, value]) => `${name}=${short(value)}`)
            .join(' '),
        ]);
        const more = reply.nextPageToken === '' ? '' : '\nthere are more; narrow the search';
        return `${table(['VERSION', 'KIND', 'STAGE', 'LICENCE', 'TAGS', 'METRICS'], rows)}${more}`;
      });
    },
  },
  'models compare': {
    usage: 'models compare REFERENCE REFERENCE ...',
    summary: 'Versions side by side: metrics, facts and files against the first.',
    arguments: ['REFERENCE', 'REFERENCE'],
    rest: true,
    options: {},
    meaning: {},
    example: 'models compare medical/1.0.0 medical/1.1.0',
    async run(session) {
      const refs = await Promise.all(session.args.map((text) => reference(session, text)));
      const reply = await session.clients.catalog.compareVersions({ refs });
      session.print(CompareVersionsResponseSchema, reply, () => {
        const names = reply.versions.map(({ name, version }) => `${name}/${version}`);
        const metrics = reply.metrics.map(({ metric, cells }) => [
          metric,
          ...cells.map(({ value, difference }, index) => {
            const shown = index > 0 && difference !== undefined && difference !== 0;
            return `${short(value)}${shown ? ` (${difference > 0 ? '+' : ''}${short(difference)})` : ''}`;
          }),
        ]);
        const facts = reply.facts.map(({ fact, values }) => [fact, ...values]);
        const files = reply.files.map(({ ref, added, removed, changed, sharedBytes, ownBytes }) => [
          ref,
          added.join(' '),
          removed.join(' '),
          changed.join(' '),
          bytes(sharedBytes),
          bytes(ownBytes),
        ]);
        return [
          ...(metrics.length > 0 ? [table(['METRIC', ...names], metrics)] : ['no metrics']),
          ...(facts.length > 0 ? [table(['FACT', ...names], facts)] : ['no fact differs']),
          table(['FILES OF', 'ADDED', 'REMOVED', 'CHANGED', 'SHARED', 'OWN'], files),
        ].join('\n\n');
      });
    },
  },
  'models storage': {
    usage: 'models storage [NAME]',
    summary: 'What models, or the versions of one, take on disk; equal files are kept once.',
    arguments: [],
    rest: true,
    options: {},
    meaning: {},
    example: 'models storage medical',
    async run(session) {
      if (session.args.length > 1)
        throw new UsageError(`'${session.args[1]}' is one argument too many: give one NAME or none`);
      const [name = ''] = session.args;
      const rows: StorageUse[] = [];
      let reply = await session.clients.catalog.getStorage({ name, pageSize: 500 });
      for (rows.push(...reply.rows); reply.nextPageToken !== ''; rows.push(...reply.rows)) {
        const pageToken = reply.nextPageToken;
        reply = await session.clients.catalog.getStorage({ name, pageSize: 500, pageToken });
      }
      const { total } = reply;
      const whole = create(GetStorageResponseSchema, { rows, ...(total && { total }) });
      const head = [name === '' ? 'MODEL' : 'VERSION', 'VERSIONS', 'SIZE', 'STORED', 'ITS OWN', 'ADDED'];
      session.print(GetStorageResponseSchema, whole, () =>
        table(head, [...rows.map(storageRow), ...(total ? [['total', ...storageRow(total).slice(1)]] : [])]),
      );
    },
  },
};
