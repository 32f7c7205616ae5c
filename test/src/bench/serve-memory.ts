import type { Report } from './report.ts';
import type { ServeOptions } from './serve.ts';
import { promptOf } from './serve-load.ts';
import { residentMiB, ServiceProcesses } from './serve-replica.ts';

const PROMPT_TOKENS = 8;
const OUTPUT_TOKENS = 2;
/** Share of the requests after which memory is taken first. */
const FIRST = 0.1;

/** Resident memory of a replica over many short requests, or over as many as the time allows. */
export async function measure(report: Report, options: ServeOptions): Promise<void> {
  await using processes = new ServiceProcesses();
  const { target, pid } = await processes.replica(options);
  const end = performance.now() + options.seconds * 1000;
  let [asked, done, early] = [0, 0, 0];
  const client = async () => {
    while (asked < options.requests && performance.now() < end) {
      asked++;
      const prompt = promptOf(PROMPT_TOKENS, options.random);
      await target.generate({ prompt, maxTokens: OUTPUT_TOKENS });
      if (++done === Math.ceil(options.requests * FIRST)) early = residentMiB(pid);
    }
  };
  await Promise.all(Array.from({ length: Math.max(...options.streams) }, client));
  report.figure('memory.requests', done, '');
  if (early === 0) throw new Error(`only ${done} requests were answered within ${options.seconds} s`);
  report.ratio('memory.last-of-first', residentMiB(pid), early, 'MiB');
}
