import { create } from '@bufbuild/protobuf';
import { durationFromMs, durationMs } from '@bufbuild/protobuf/wkt';
import {
  type CachePolicy,
  CachePolicySchema,
  type CacheStatistics,
} from '@landfall/proto/landfall/gateway/v1/cache_pb.js';
import {
  GetCachePolicyResponseSchema,
  GetCacheStatisticsResponseSchema,
  PurgeCacheResponseSchema,
  SetCachePolicyResponseSchema,
} from '@landfall/proto/landfall/gateway/v1/cache_service_pb.js';
import { type Command, listOf, numberOf, textOf, UsageError, type Values } from '../command.ts';
import { table } from '../render.ts';

const DEFAULT_TTL_S = 3600;
/** Likeness that is asked for where --similar says no number. */
const DEFAULT_THRESHOLD = 0.95;

function policyText(policy: CachePolicy): string {
  if (!policy.enabled) return 'no answers are kept';
  const { ttl, maxEntries, maxBytes, sampled, bypassSubjects, bypassModels, similar } = policy;
  return table(
    ['SETTING', 'VALUE'],
    [
      ['kept for', `${ttl ? durationMs(ttl) / 1000 : DEFAULT_TTL_S} s`],
      ['most answers', String(Number(maxEntries) || 10_000)],
      ['most bytes', String(Number(maxBytes) || 67_108_864)],
      ['sampled', sampled ? 'yes' : 'no'],
      ['similar', similar ? `${similar.threshold} by ${similar.embeddingModel || 'letters'}` : 'no'],
      ['passing by', [...bypassSubjects, ...bypassModels].join(', ') || 'nobody'],
    ],
  );
}

/** @throws UsageError for options that go with `on` alone */
function policyOf(values: Values, enabled: boolean): CachePolicy {
  const similar = numberOf(values, 'similar');
  const embeddingModel = textOf(values, 'embedding-model');
  if (embeddingModel && similar === undefined)
    throw new UsageError(`--embedding-model needs --similar, such as --similar ${DEFAULT_THRESHOLD}`);
  return create(CachePolicySchema, {
    enabled,
    ttl: durationFromMs((numberOf(values, 'ttl') ?? DEFAULT_TTL_S) * 1000),
    maxEntries: BigInt(numberOf(values, 'max-entries') ?? 0),
    maxBytes: BigInt(numberOf(values, 'max-bytes') ?? 0),
    sampled: values.sampled === true,
    bypassSubjects: listOf(values, 'bypass').filter((each) => /^(key|user|account):/.test(each)),
    bypassModels: listOf(values, 'bypass').filter((each) => !/^(key|user|account):/.test(each)),
    ...(similar === undefined ? {} : { similar: { threshold: similar, embeddingModel } }),
  });
}

function statisticsText(statistics: CacheStatistics): string {
  const { hits, similarHits, misses, joined, bypasses, stored, personal, savedTokens, entries, bytes } =
    statistics;
  const looked = Number(hits + similarHits + misses);
  const share = looked > 0 ? `${((100 * Number(hits + similarHits)) / looked).toFixed(1)} %` : '-';
  return table(
    [
      'HITS',
      'SIMILAR',
      'MISSES',
      'JOINED',
      'SHARE',
      'BYPASSED',
      'STORED',
      'PERSONAL',
      'TOKENS SAVED',
      'KEPT',
      'BYTES',
    ],
    [
      [
        ...[hits, similarHits, misses, joined].map(String),
        share,
        ...[bypasses, stored, personal, savedTokens, entries, bytes].map(String),
      ],
    ],
  );
}

export const cacheCommands: Record<string, Command> = {
  'cache policy': {
    usage: 'cache policy [on|off]',
    summary: 'Shows which answers the tenant keeps, or sets it, whole.',
    arguments: [],
    rest: true,
    options: {
      ...{ ttl: { type: 'string' }, 'max-entries': { type: 'string' }, 'max-bytes': { type: 'string' } },
      ...{ sampled: { type: 'boolean' }, bypass: { type: 'string', multiple: true } },
      ...{ similar: { type: 'string' }, 'embedding-model': { type: 'string' } },
    },
    meaning: {
      ttl: `seconds that an answer is kept (${DEFAULT_TTL_S})`,
      'max-entries': 'most answers (10000)',
      'max-bytes': 'most bytes of all of them (67108864)',
      sampled: 'keep answers that are left to chance, too',
      bypass: 'a caller (key:UUID) or model whose answers are not kept; may be repeated',
      similar: `answer similar questions from this likeness on, 0.8 to 1, such as ${DEFAULT_THRESHOLD}`,
      'embedding-model': 'CLIP model that tells what is similar, such as models:/clip/1.0.0 (letters do)',
    },
    example: 'cache policy on --ttl 600',
    async run(session) {
      const { clients, args, values } = session;
      const [what, ...more] = args;
      if (what === undefined) {
        const reply = await clients.cache.getCachePolicy({});
        session.print(GetCachePolicyResponseSchema, reply, () => policyText(reply.policy!));
        return;
      }
      if ((what !== 'on' && what !== 'off') || more.length > 0)
        throw new UsageError(`cache policy is set with on or off and not '${args.join(' ')}'`);
      const reply = await clients.cache.setCachePolicy({ policy: policyOf(values, what === 'on') });
      session.print(SetCachePolicyResponseSchema, reply, () => policyText(reply.policy!));
    },
  },
  'cache stats': {
    usage: 'cache stats',
    summary: 'What was found among the kept answers, and how many there are.',
    arguments: [],
    options: {},
    meaning: {},
    example: 'cache stats',
    async run(session) {
      const reply = await session.clients.cache.getCacheStatistics({});
      session.print(GetCacheStatisticsResponseSchema, reply, () => statisticsText(reply.statistics!));
    },
  },
  'cache purge': {
    usage: 'cache purge [--model NAME]',
    summary: 'Drops kept answers.',
    arguments: [],
    options: { model: { type: 'string' } },
    meaning: { model: 'only those of this deployment or model (all)' },
    example: 'cache purge --model medical-qa',
    async run(session) {
      const reply = await session.clients.cache.purgeCache({ model: textOf(session.values, 'model') });
      session.print(PurgeCacheResponseSchema, reply, () =>
        reply.dropped === 1n ? '1 answer was dropped' : `${reply.dropped} answers were dropped`,
      );
    },
  },
};
