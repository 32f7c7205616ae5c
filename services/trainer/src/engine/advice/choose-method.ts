/** peft's methods. */
export type MethodName = 'lora' | 'qlora' | 'frozen' | 'full' | 'ptuning_v2';

export const METHOD_NAMES = ['lora', 'qlora', 'ptuning_v2', 'frozen', 'full'] as const;

/** What the choice rests on. */
export interface Situation {
  rows: number;
  /** Classification and other understanding, rather than dialogue. */
  understanding: boolean;
  /** 0 is the CPU. */
  gpus: number;
  /** The best result is wanted, whatever it takes; or the cheapest that works. */
  goal: 'fast' | 'balanced' | 'best';
  /** Memory at hand in bytes. */
  memoryBytes: number;
  /** Estimate of each method's peak, in bytes. */
  needs: Readonly<Record<MethodName, number>>;
}

const MANY_ROWS = 100_000;
const SOME_ROWS = 10_000;
/** What is tried when a method does not fit: each needs less than the one before. */
const LEANER: Record<MethodName, readonly MethodName[]> = {
  full: ['frozen', 'lora', 'qlora'],
  frozen: ['lora', 'qlora'],
  lora: ['qlora'],
  ptuning_v2: ['qlora'],
  qlora: [],
};

/**
 * Which method fits: by rows first, then by task and goal, and by memory last. The more rows there are, the more
 * parameters they can teach without being learnt by heart.
 */
export function chooseMethod(situation: Situation): { method: MethodName; reason: string } {
  const wanted = byRows(situation);
  const { memoryBytes, needs } = situation;
  if (needs[wanted.method] <= memoryBytes) return wanted;
  const short = `${wanted.method} would need about ${gib(needs[wanted.method])} GiB of ${gib(memoryBytes)} GiB`;
  const fitting = LEANER[wanted.method].find((method) => needs[method] <= memoryBytes);
  if (fitting) return { method: fitting, reason: `${wanted.reason}; but ${short}, and ${fitting} fits` };
  return {
    method: 'qlora',
    reason: `${wanted.reason}; but ${short}, and even qlora about ${gib(needs.qlora)} GiB: a smaller batch_size, a shorter max_length or a smaller base is needed`,
  };
}

function byRows({ rows, gpus, understanding, goal }: Situation): { method: MethodName; reason: string } {
  const count = rows.toLocaleString('en');
  if (rows > MANY_ROWS) {
    return { method: 'full', reason: `${count} rows are enough to train all parameters` };
  }
  if (rows >= SOME_ROWS) {
    if (gpus > 1) {
      return { method: 'full', reason: `${count} rows and ${gpus} GPUs: all parameters can be trained` };
    }
    const where = gpus === 1 ? 'one GPU' : 'the CPU';
    return { method: 'frozen', reason: `${count} rows on ${where}: the top layers alone learn the task` };
  }
  if (understanding && goal !== 'best') {
    return {
      method: 'ptuning_v2',
      reason: `${count} rows of a language-understanding task: trained prefixes suffice`,
    };
  }
  return {
    method: 'lora',
    reason: `${count} rows are too few to train all parameters without learning them by heart: low-rank adapters fit`,
  };
}

function gib(bytes: number): string {
  return (bytes / 1024 ** 3).toFixed(1);
}
