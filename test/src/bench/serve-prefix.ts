import { median, type Report } from './report.ts';
import type { ServeOptions } from './serve.ts';
import { promptOf } from './serve-load.ts';
import { ServiceProcesses } from './serve-replica.ts';

const SHARED_TOKENS = 512;
const OWN_TOKENS = 16;
/** Prompts of each kind in a round. */
const EACH = 3;

/** Time to first token of prompts that begin alike, against that of prompts which nobody has asked before. */
export async function measure(report: Report, options: ServeOptions): Promise<void> {
  await using processes = new ServiceProcesses();
  const { target } = await processes.replica(options);
  const { random } = options;
  const shared = promptOf(SHARED_TOKENS, random);
  const firstTokenMs = async (beginning: string) => {
    const at = performance.now();
    const prompt = beginning + promptOf(OWN_TOKENS, random);
    const { arrivals } = await target.generate({ prompt, maxTokens: 2 });
    return arrivals[0]! - at;
  };
  await firstTokenMs(shared);
  const [warm, cold]: [number[], number[]] = [[], []];
  for (let i = 0; i < options.rounds * EACH; i++) {
    cold.push(await firstTokenMs(promptOf(SHARED_TOKENS, random)));
    warm.push(await firstTokenMs(shared));
  }
  report.ratio('prefix.time-to-first-token', median(warm), median(cold), 'ms');
}
