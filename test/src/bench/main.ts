/**
 * `npm run bench -- NAME [options]`: measures, and compares two things in one run. Prints a line a figure
 * (`NAME.figure value unit`), a line a comparison (`ratio NAME.what value (ours=..., peer=..., unit)`), and all of it
 * as JSON on the last line.
 */
import { Report, UsageError } from './report.ts';

/** A bench may return what its last line has beside the figures. */
type Bench = { run(report: Report, args: string[]): Promise<unknown> };
const BENCHES: Record<string, () => Promise<Bench>> = {
  balance: () => import('./balance.ts'),
  clip: () => import('./clip.ts'),
  gateway: () => import('./gateway.ts'),
  inspect: () => import('./inspect.ts'),
  'inspect-calibration': () => import('./inspect-calibration.ts'),
  'inspect-statistics': () => import('./inspect-statistics.ts'),
  'make-model': () => import('./make-model.ts'),
  mesh: () => import('./mesh.ts'),
  perplexity: () => import('./perplexity.ts'),
  prompt: () => import('./prompt.ts'),
  search: () => import('./search.ts'),
  serve: () => import('./serve.ts'),
  train: () => import('./train.ts'),
  vision: () => import('./vision.ts'),
};

const [name = '', ...args] = process.argv.slice(2);
const load = BENCHES[name];
if (!load) {
  process.stderr.write(`npm run bench -- NAME; NAME is one of: ${Object.keys(BENCHES).join(', ')}\n`);
  process.exitCode = 1;
} else {
  const report = new Report(name);
  try {
    report.end(((await (await load()).run(report, args)) ?? {}) as object);
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    process.stderr.write(`${error.message}\n`);
    process.exitCode = 1;
  }
}
