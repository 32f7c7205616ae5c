/** peft's methods. */
export type MethodName = 'lora' | 'qlora' | 'frozen' | 'full' | 'ptuning_v2';

/** What the choice rests on. */
export interface Situation {
  rows: number;
  /** Classification and other understanding, rather than dialogue. */
  understanding: boolean;
  /** 0 is the CPU. */
  gpus: number;
  /** Memory at hand in bytes. */
  memoryBytes: number;
  /** Estimate for LoRA with the base in 32-bit numbers. */
  loraMemoryBytes: number;
}

const MANY_ROWS = 100_000;
const SOME_ROWS = 10_000;

/**
 * Which method fits: by rows first, then by task, and by memory last. The more rows there are, the more parameters
 * they can teach without being learnt by heart.
 */
export function chooseMethod(situation: Situation): { method: MethodName; reason: string } {
  const { rows, gpus, understanding } = situation;
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
  if (understanding) {
    return {
      method: 'ptuning_v2',
      reason: `${count} rows of a language-understanding task: trained prefixes suffice`,
    };
  }
  if (situation.loraMemoryBytes > situation.memoryBytes) {
    const need = gib(situation.loraMemoryBytes);
    return {
      method: 'qlora',
      reason: `${count} rows: LoRA would need about ${need} GiB of ${gib(situation.memoryBytes)} GiB; a base in NF4 fits`,
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
