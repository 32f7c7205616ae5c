import { prefixKeys } from '@landfall/common/balancing/prefix-keys.ts';

/** One request of a workload. */
export interface WorkItem {
  atMs: number;
  promptTokens: number;
  outputTokens: number;
  /** What its caller asks for at most, and all that a balancer can know of its length. */
  maxTokens: number;
  keys: readonly bigint[];
}

type Range = readonly [least: number, most: number];

/** How many requests are short questions, and what those and the others ask for. */
export interface Mix {
  shortShare: number;
  short: { prompt: Range; output: Range; maxTokens: number };
  long: { prompt: Range; output: Range; maxTokens: number };
}

const SHORT = { prompt: [32, 128], output: [16, 64], maxTokens: 128 } as const;

export const MIXES = {
  /** Chats, and one in ten that gives a document and asks for pages. */
  mixed: {
    shortShare: 0.9,
    short: SHORT,
    long: { prompt: [512, 1536], output: [256, 512], maxTokens: 512 },
  },
  /** Less between short and long. */
  milder: {
    shortShare: 0.8,
    short: SHORT,
    long: { prompt: [256, 1024], output: [128, 384], maxTokens: 512 },
  },
} as const satisfies Record<string, Mix>;

/** Arrivals at random moments (Poisson), sizes uniform within each kind. @param perSecond mean rate */
export function mixedWork(mix: Mix, count: number, perSecond: number, random: () => number): WorkItem[] {
  let atMs = 0;
  const between = ([least, most]: Range) => Math.round(least + random() * (most - least));
  return Array.from({ length: count }, () => {
    atMs += (-Math.log(1 - random()) / perSecond) * 1000;
    const { prompt, output, maxTokens } = random() < mix.shortShare ? mix.short : mix.long;
    return { atMs, promptTokens: between(prompt), outputTokens: between(output), maxTokens, keys: [] };
  });
}

/** The same, but each prompt begins with one of `groups` long texts; the first of them is `hotShare` of all. */
export function sharedPrefixWork(
  work: readonly WorkItem[],
  { groups, hotShare, prefixTokens }: { groups: number; hotShare: number; prefixTokens: number },
  random: () => number,
): WorkItem[] {
  const keys = Array.from({ length: groups }, (_, i) =>
    prefixKeys({
      model: 'm',
      tenant: 't',
      prompt: `${i} `.repeat(4 * prefixTokens).slice(0, 4 * prefixTokens),
    }),
  );
  return work.map((item) => {
    const group = random() < hotShare ? 0 : 1 + Math.floor(random() * (groups - 1));
    return { ...item, promptTokens: item.promptTokens + prefixTokens, keys: keys[group]! };
  });
}
