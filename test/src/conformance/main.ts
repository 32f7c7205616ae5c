import { parseArgs } from 'node:util';
import { bleuCase } from './cases/bleu.ts';
import { forwardCase } from './cases/forward.ts';
import { greedyCase, mergedCase } from './cases/greedy.ts';
import { nf4Case } from './cases/nf4.ts';
import { trainingCase } from './cases/training.ts';
import { type Case, type CaseKind, findCases } from './find-cases.ts';
import { describe, type Outcome, passes, UnsupportedCase } from './outcome.ts';

const USAGE = `npm run conformance -- DIR [--only TEXT]
  DIR          folder with reference cases, in it or in folders below
  --only TEXT  only cases whose name holds TEXT`;

const RUNNERS: Record<CaseKind, (found: Case) => Promise<Outcome>> = {
  bleu: bleuCase,
  forward: forwardCase,
  greedy: greedyCase,
  training: trainingCase,
  merged: mergedCase,
  nf4: nf4Case,
};

async function run(found: Case): Promise<Outcome> {
  try {
    return await RUNNERS[found.kind](found);
  } catch (error) {
    if (error instanceof UnsupportedCase) return { kind: 'unsupported', missing: error.message };
    const reason = (error instanceof Error ? error.message : String(error)).replace(/\s+/g, ' ');
    return { kind: 'broken', reason };
  }
}

const { values, positionals } = parseArgs({
  options: { only: { type: 'string' }, help: { type: 'boolean', short: 'h' } },
  allowPositionals: true,
});
if (values.help || positionals.length !== 1) {
  console.error(USAGE);
  process.exit(values.help ? 0 : 1);
}

const counts = { pass: 0, fail: 0, unsupported: 0 };
for (const entry of findCases(positionals[0]!)) {
  if (values.only && !entry.name.includes(values.only)) continue;
  const outcome = await run(entry);
  if (outcome.kind === 'unsupported') counts.unsupported++;
  else counts[passes(outcome) ? 'pass' : 'fail']++;
  console.log(describe(entry.name, outcome));
}
console.log(JSON.stringify(counts));
const found = counts.pass + counts.fail + counts.unsupported;
if (found === 0) console.error('no case was found there');
process.exitCode = counts.fail > 0 || found === 0 ? 1 : 0;
