import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { TrainingConfigSchema } from '@landfall/proto/landfall/trainer/v1/job_pb.js';
import { describe, expect, it } from 'vitest';
import { decide, estimate, fingerprint } from './decide.ts';
import type { RoundEvidence, Situation } from './evidence.ts';

const seed = Number(process.env.LANDFALL_TEST_SEED ?? Math.floor(Math.random() * 2 ** 31));
console.info(`decide: LANDFALL_TEST_SEED=${seed}`);
/** mulberry32 */
function generator(state: number): () => number {
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

const common = {
  epochs: 20,
  batchSize: 16,
  gradientAccumulationSteps: 1,
  maxLength: 256,
  instructionTemplates: ['chat'],
};
type Changes = MessageInitShape<typeof TrainingConfigSchema>;
const config = (changes: Changes = {}) => create(TrainingConfigSchema, { ...common, ...changes });
const LORA = { rank: 16, loraAlpha: 32, targetModules: ['all-linear'], learningRate: 5e-3 };
const ALTERNATIVES: Situation['alternatives'] = [
  { method: 'lora', config: config(LORA), fits: true },
  { method: 'qlora', config: config({ ...LORA, gradientCheckpointing: true }), fits: true },
  { method: 'ptuning_v2', config: config({ numVirtualTokens: 16, learningRate: 0.03 }), fits: true },
  { method: 'frozen', config: config({ trainableLayers: 1, learningRate: 6e-4 }), fits: true },
  { method: 'full', config: config({ learningRate: 3e-4 }), fits: false },
];
const falling = (from: number, to: number, n = 40) =>
  Array.from({ length: n }, (_, i) => from + ((to - from) * i) / (n - 1));
const settled = (from: number, to: number, n = 40) =>
  Array.from({ length: n }, (_, i) => to + (from - to) * Math.exp((-12 * i) / n));

function round(changes: Partial<RoundEvidence> & { settings?: Changes } = {}): RoundEvidence {
  const { settings, ...rest } = changes;
  return {
    method: 'lora',
    config: config({ ...LORA, ...settings }),
    dataset: 'models:/d/1.0.0',
    action: 'first',
    losses: falling(4, 1),
    evaluationLosses: [],
    value: 10,
    passed: true,
    failure: '',
    trainSeconds: 10,
    otherSeconds: 5,
    tokens: 1000,
    ...rest,
  };
}

const situation = (rounds: RoundEvidence[], changes: Partial<Situation> = {}): Situation => ({
  metric: 'bleu',
  threshold: 40,
  rounds,
  maxRounds: 10,
  secondsLeft: Infinity,
  tokensLeft: Infinity,
  alternatives: ALTERNATIVES,
  chinese: true,
  canParaphrase: false,
  ...changes,
});

/** The action and what of the settings differs from the last round's. */
function next(rounds: RoundEvidence[], changes: Partial<Situation> = {}) {
  const decision = decide(situation(rounds, changes));
  if (decision.kind !== 'next') throw new Error(decision.reason);
  return decision;
}

describe('the next step', () => {
  it.each<[string, Parameters<typeof round>[0], string, Changes]>([
    ['trains longer while the loss falls', { settings: { epochs: 5 } }, 'more_epochs', { epochs: 10 }],
    [
      'takes the advised rate where nothing is learnt',
      { losses: falling(4, 3.9), settings: { learningRate: 1e-5, epochs: 1 } },
      'higher_rate',
      { learningRate: 5e-3 },
    ],
    [
      'lowers the rate of a loss that is no number',
      { losses: [3, 2, NaN] },
      'lower_rate',
      { learningRate: 1.5e-3 },
    ],
    [
      'lowers it after a failure that says so',
      { losses: [], failure: 'the loss is not finite at step 3' },
      'lower_rate',
      {},
    ],
    [
      'lowers the rate of a loss that rose again',
      { losses: [...falling(4, 1), ...falling(1, 3)], settings: { learningRate: 0.5 } },
      'lower_rate',
      { learningRate: 5e-3 },
    ],
    [
      'keeps the best where the validation loss rises',
      { losses: settled(4, 0.1), evaluationLosses: [2, 1.5, 1.6, 1.9] },
      'keep_best',
      { keepBest: true, earlyStoppingPatience: 3 },
    ],
    [
      'augments where the best is kept already',
      { losses: settled(4, 0.1), evaluationLosses: [2, 1.5, 1.9], settings: { keepBest: true } },
      'augment',
      { keepBest: true },
    ],
    [
      'targets all linear layers on a plateau',
      { losses: settled(4, 2), settings: { targetModules: ['q_proj'] } },
      'more_targets',
      { targetModules: ['all-linear'] },
    ],
    [
      'trains longer where the loss came to rest after few passes',
      { losses: settled(4, 2), settings: { epochs: 2, targetModules: ['q_proj'] } },
      'more_epochs',
      { epochs: 10, targetModules: ['q_proj'] },
    ],
    [
      'takes what is advised where passes and rank are both far from it',
      { losses: settled(4, 2), settings: { epochs: 2, rank: 1, loraAlpha: 2 } },
      'advised',
      { epochs: 20, rank: 16, loraAlpha: 32 },
    ],
    [
      'sees a noisy loss fall',
      { losses: [10, 9.8, 8.7, 8.9, 8, 8.2, 7.4, 7.7, 7.3, 7.6], settings: { epochs: 12 } },
      'more_epochs',
      { epochs: 24 },
    ],
    [
      'takes a higher rank where all are targeted, at the same scale',
      { losses: settled(4, 2), settings: { rank: 1, loraAlpha: 2 } },
      'higher_rank',
      { rank: 16, loraAlpha: 32 },
    ],
    [
      'recomputes layers where memory is short',
      { losses: [], value: undefined, failure: 'the job would need about 900 MiB of memory', passed: false },
      'gradient_checkpointing',
      { gradientCheckpointing: true },
    ],
  ])('%s', (_, changes, action, settings) => {
    const decision = next([round(changes)]);
    expect(decision.action).toBe(action);
    expect(decision.config).toMatchObject(settings);
    expect(decision.reason).toMatch(/: /);
  });

  it('goes to smaller batches and to 4 bits when recomputing is not enough', () => {
    const failure = 'DOES_NOT_FIT';
    const broke = { losses: [], value: undefined, failure, passed: false };
    const rounds = [round({ ...broke, settings: { batchSize: 1, gradientCheckpointing: true } })];
    expect(next(rounds)).toMatchObject({ method: 'qlora', action: 'other_method' });
  });

  it('goes on from the best round when a change made things worse', () => {
    const rounds = [
      round({
        value: 20,
        losses: settled(4, 1),
        settings: { rank: 4, loraAlpha: 8, targetModules: ['q_proj'] },
      }),
      round({ value: 5, losses: settled(4, 2), settings: { rank: 4, loraAlpha: 8 } }),
    ];
    const decision = next(rounds);
    expect(decision.config.targetModules).toEqual(['q_proj']);
    expect(decision.reason).toMatch(/^going on from round 1/);
  });

  it('goes on from the lower loss where the values do not differ', () => {
    const poor = { learningRate: 1e-5, epochs: 1 };
    const rounds = [
      round({ value: 0.3, losses: falling(4, 3.95), settings: poor }),
      round({ value: 0.1, losses: falling(4, 2), settings: { epochs: 1 } }),
    ];
    expect(next(rounds)).toMatchObject({ action: 'more_epochs', config: { learningRate: 5e-3 } });
  });

  it('steps back half way when a higher rate diverged', () => {
    const rounds = [
      round({ value: 20, settings: { learningRate: 1e-3 } }),
      round({ value: 0, losses: [3, NaN], settings: { learningRate: 5e-3 } }),
    ];
    expect(next(rounds)).toMatchObject({ action: 'lower_rate', config: { learningRate: 1.5e-3 } });
  });

  it('asks a served model for paraphrases once templates are used up', () => {
    const templates = Array.from({ length: 32 }, (_, i) => `${i} {question}`);
    const losses = settled(4, 0.1);
    const settings = { keepBest: true, instructionTemplates: templates };
    const decision = next([round({ losses, evaluationLosses: [2, 1, 3], settings })], {
      canParaphrase: true,
    });
    expect(decision).toMatchObject({ action: 'augment', paraphrase: true });
  });

  it('lowers the rate where the goal is met and a gate is not', () => {
    const decision = next([round({ value: 50, passed: false, failure: 'backward_transfer is -9' })]);
    expect(decision).toMatchObject({ action: 'lower_rate' });
    expect(decision.reason).toContain('backward_transfer is -9');
  });

  it('takes another method where a step of the same one does not fit, and never one that does not', () => {
    for (let i = 0, rounds = [round({ value: 1 })]; i < 60; i++) {
      const decision = decide(situation(rounds, { maxRounds: 100 }));
      if (decision.kind === 'end') {
        expect(rounds.map(({ method }) => method)).toContain('frozen');
        return;
      }
      expect(decision.method).not.toBe('full');
      rounds = [...rounds, round({ ...decision, value: 1, losses: settled(4, 2) })];
    }
  });
});

describe('the end', () => {
  it('is met by the best that passed its gates', () => {
    const rounds = [round({ value: 41 }), round({ value: 60, passed: false, failure: 'safety' })];
    expect(decide(situation(rounds))).toMatchObject({ kind: 'end', outcome: 'met', best: 0 });
  });

  it('is met from below where lower is better', () => {
    const lower = { metric: 'perplexity', threshold: 3 };
    expect(decide(situation([round({ value: 2.5 })], lower))).toMatchObject({ outcome: 'met' });
    expect(decide(situation([round({ value: 12 })], lower)).kind).toBe('next');
  });

  it.each<[string, Partial<Situation>, RegExp]>([
    ['rounds', { maxRounds: 1 }, /1 of 1 rounds/],
    ['time', { secondsLeft: 0 }, /time is spent/],
    ['tokens', { tokensLeft: 0 }, /tokens are spent/],
    ['time for another round', { secondsLeft: 2 }, /does not fit into the 2 s/],
    ['tokens for another round', { tokensLeft: 10 }, /does not fit into the 10 tokens/],
  ])('comes when there are no more %s, with the best and why', (_, changes, why) => {
    const decision = decide(situation([round()], changes));
    expect(decision).toMatchObject({ kind: 'end', outcome: 'budget', best: 0 });
    expect(decision.reason).toMatch(why);
    expect(decision.reason).toMatch(/the best is 10 \(round 1\), the goal is bleu at least 40/);
  });

  it('takes a cheaper step where the best one does not fit', () => {
    const rounds = [round({ settings: { epochs: 20, targetModules: ['q_proj'] } })];
    // Twice the epochs take 25 s; another rate takes 15.
    expect(next(rounds, { secondsLeft: 20 })).toMatchObject({ action: 'higher_rate' });
  });

  it('estimates from the epochs, the method and the data', () => {
    const held = [round({ settings: { epochs: 10 } })];
    const step = { method: 'lora' as const, config: config({ ...LORA, epochs: 20 }), paraphrase: true };
    expect(estimate(step, held)).toEqual({ seconds: 45, tokens: 4000 });
    expect(estimate(step, [])).toEqual({ seconds: 0, tokens: 0 });
  });
});

it('never repeats settings, keeps the budget, and always ends with the best of its rounds', () => {
  const random = generator(seed);
  for (let run = 0; run < 60; run++) {
    const maxRounds = 1 + Math.floor(random() * 40);
    let secondsLeft = random() < 0.5 ? Infinity : random() * 3000;
    let rounds = [round({ settings: { rank: 1, loraAlpha: 2, learningRate: 10 ** (-6 + 4 * random()) } })];
    let paraphrased = false;
    for (;;) {
      const now = situation(rounds, { maxRounds, secondsLeft, canParaphrase: !paraphrased });
      const decision = decide(now);
      if (decision.kind === 'end') {
        expect(decision.reason).not.toBe('');
        expect(rounds.length).toBeLessThanOrEqual(maxRounds);
        if (rounds.some(({ value }) => value !== undefined)) expect(decision.best).toBeGreaterThanOrEqual(0);
        break;
      }
      const need = estimate(decision, rounds);
      expect(need.seconds).toBeLessThanOrEqual(secondsLeft);
      secondsLeft -= need.seconds;
      paraphrased ||= decision.paraphrase;
      const kind = random();
      const broke = kind < 0.15;
      const { method, config: settings, action } = decision;
      const added: RoundEvidence = {
        ...round(),
        method,
        config: settings,
        action,
        dataset: decision.paraphrase ? 'models:/d/2.0.0' : decision.dataset,
        losses: broke
          ? []
          : kind < 0.3
            ? [3, NaN]
            : kind < 0.6
              ? falling(4, random() * 4)
              : settled(4, random() * 3),
        evaluationLosses: random() < 0.3 ? [2, 1, 1 + random()] : [],
        value: broke ? undefined : random() * 39,
        passed: !broke,
        failure: broke ? 'the job would need more memory' : '',
      };
      const before = new Set(rounds.map(fingerprint));
      expect(before.has(fingerprint(added))).toBe(false);
      rounds = [...rounds, added];
    }
  }
});
