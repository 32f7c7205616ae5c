import { readFileSync } from 'node:fs';
import {
  CreateCollectionResponseSchema,
  ListCollectionsResponseSchema,
  PutEntriesResponseSchema,
} from '@landfall/proto/landfall/vision/v1/collection_service_pb.js';
import { SearchResponseSchema } from '@landfall/proto/landfall/vision/v1/vision_inference_service_pb.js';
import { type Command, listOf, numberOf, reference, textOf, UsageError, type Values } from '../command.ts';
import { table } from '../render.ts';

export const collectionCommands: Record<string, Command> = {
  'collections create': {
    usage: 'collections create NAME',
    summary: 'Makes a collection that is searched by picture and words.',
    arguments: ['NAME'],
    options: {
      model: { type: 'string' },
      dimensions: { type: 'string' },
      description: { type: 'string' },
    },
    meaning: {
      model: 'CLIP model that makes the vectors',
      dimensions: 'instead of a model: values of vectors of your own',
      description: 'what it holds',
    },
    example: 'collections create shoes --model clip@production --description 鞋类商品',
    async run(session) {
      const { clients, values, args } = session;
      const reply = await clients.collections.createCollection({
        collection: args[0]!,
        model: await reference(session, textOf(values, 'model')),
        dimensions: numberOf(values, 'dimensions') ?? 0,
        description: textOf(values, 'description'),
      });
      const { name, model, dimensions } = reply.collection!;
      session.print(
        CreateCollectionResponseSchema,
        reply,
        () => `${name} holds vectors of ${dimensions} values${model && ` by ${model}`}`,
      );
    },
  },
  'collections list': {
    usage: 'collections list',
    summary: 'Collections and how much is in them.',
    arguments: [],
    options: {},
    meaning: {},
    example: 'collections list',
    async run(session) {
      const reply = await session.clients.collections.listCollections({});
      session.print(ListCollectionsResponseSchema, reply, () =>
        table(
          ['COLLECTIONS', 'ENTRIES', 'MODEL', 'DESCRIPTION'],
          reply.collections.map(({ name, entries, model, description }) => [
            name,
            String(entries),
            model,
            description,
          ]),
        ),
      );
    },
  },
  'collections add': {
    usage: 'collections add NAME ID',
    summary: 'Puts an entry, by its picture, its words or both; one of the same id is replaced.',
    arguments: ['NAME', 'ID'],
    options: {
      image: { type: 'string' },
      text: { type: 'string' },
      set: { type: 'string', multiple: true },
    },
    meaning: {
      image: 'file with its picture: PNG, JPEG or WebP',
      text: 'its words',
      set: 'key=value that is shown with a match and filtered by; several',
    },
    example:
      'collections add shoes 货号-1001 --image shoe.png --text 红色运动鞋 --set 价格=199.90 --set 颜色=红',
    async run(session) {
      const { clients, values, args } = session;
      const [collection, id] = args as [string, string];
      const metadata = pairsOf((values.set ?? []) as string[]);
      const reply = await clients.collections.putEntries({
        collection,
        entries: [{ id, ...lookedFor(values), metadata }],
      });
      session.print(
        PutEntriesResponseSchema,
        reply,
        () => `${id} is in ${collection}, which has ${reply.collection!.entries} entries`,
      );
    },
  },
  'collections remove': {
    usage: 'collections remove NAME ID...',
    summary: 'Deletes entries.',
    arguments: ['NAME', 'ID'],
    rest: true,
    options: {},
    meaning: {},
    example: 'collections remove shoes 货号-1001',
    async run({ clients, args, line, json }) {
      const [collection, ...ids] = args as [string, ...string[]];
      const { deleted } = await clients.collections.deleteEntries({ collection, ids });
      line(json ? JSON.stringify({ deleted }) : `${deleted} of ${ids.length} entries deleted`);
    },
  },
  'collections search': {
    usage: 'collections search NAME',
    summary: 'The entries most like a picture, words or both.',
    arguments: ['NAME'],
    options: {
      image: { type: 'string' },
      text: { type: 'string' },
      'image-weight': { type: 'string' },
      where: { type: 'string', multiple: true },
      top: { type: 'string' },
    },
    meaning: {
      image: 'file with a picture: PNG, JPEG or WebP',
      text: 'words',
      'image-weight': 'what the picture counts beside the words, 0 to 1 (0.5)',
      where: 'key=value, key=value,value or key=low..high (either may be left out); several must all hold',
      top: 'how many (10)',
    },
    example: 'collections search shoes --image street.jpg --text 红色 --where 颜色=红 --where 价格=..300',
    async run(session) {
      const { clients, values, args } = session;
      const filters = ((values.where ?? []) as string[]).map(conditionOf);
      const imageWeight = numberOf(values, 'image-weight');
      const reply = await clients.vision.search({
        collection: args[0]!,
        ...lookedFor(values),
        ...(imageWeight === undefined ? {} : { imageWeight }),
        topK: numberOf(values, 'top') ?? 0,
        ...(filters.length > 0 ? { filter: { condition: { case: 'all', value: { filters } } } } : {}),
      });
      session.print(SearchResponseSchema, reply, () =>
        table(
          ['ENTRIES', 'SCORE', 'METADATA'],
          reply.matches.map(({ id, score, metadata }) => [
            id,
            score.toFixed(3),
            Object.entries(metadata)
              .map(([key, value]) => `${key}=${value}`)
              .join(' '),
          ]),
        ),
      );
    },
  },
  'collections delete': {
    usage: 'collections delete NAME',
    summary: 'Deletes a collection with its entries.',
    arguments: ['NAME'],
    options: {},
    meaning: {},
    example: 'collections delete shoes',
    async run({ clients, args, line, json }) {
      const collection = args[0]!;
      await clients.collections.deleteCollection({ collection });
      line(json ? JSON.stringify({ deleted: collection }) : `${collection} is deleted`);
    },
  },
};

/** Picture and words among the options. @throws UsageError where there is neither */
function lookedFor(values: Values): { image?: { content: Uint8Array }; text: string } {
  const { image, text = '' } = values as { image?: string; text?: string };
  if (image === undefined && text === '') throw new UsageError('give --image, --text or both');
  return { text, ...(image === undefined ? {} : { image: { content: fileOf(image) } }) };
}

function fileOf(path: string): Uint8Array {
  try {
    return readFileSync(path);
  } catch {
    throw new UsageError(`--image: there is no file ${path} that can be read`);
  }
}

function pairsOf(texts: readonly string[]): Record<string, string> {
  return Object.fromEntries(texts.map((text) => pairOf(text, '--set is key=value')));
}

function pairOf(text: string, meant: string): [string, string] {
  const at = text.indexOf('=');
  if (at < 1) throw new UsageError(`${meant} and not '${text}'`);
  return [text.slice(0, at), text.slice(at + 1)];
}

/** A condition as the service takes it. */
function conditionOf(text: string) {
  const [key, value] = pairOf(text, '--where is key=value, key=value,value or key=low..high');
  const range = /^(-?[\d.]*\d)?\.\.(-?[\d.]*\d)?$/.exec(value);
  if (range && (range[1] ?? range[2]) !== undefined) {
    const bound = (name: 'gte' | 'lte', number: string | undefined) =>
      number === undefined ? {} : { [name]: numberOf({ where: number }, 'where')! };
    const bounds = { ...bound('gte', range[1]), ...bound('lte', range[2]) };
    return { condition: { case: 'range' as const, value: { key, ...bounds } } };
  }
  const values = listOf({ value: [value] }, 'value');
  return values.length > 1
    ? { condition: { case: 'oneOf' as const, value: { key, values } } }
    : { condition: { case: 'equals' as const, value: { key, value } } };
}
