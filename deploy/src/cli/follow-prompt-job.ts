import { type Evaluation, JobState } from '@landfall/proto/landfall/prompt/v1/evaluation_pb.js';
import { type Optimization, OptimizationStage } from '@landfall/proto/landfall/prompt/v1/optimization_pb.js';
import type { Session } from './command.ts';
import { bar, duration, member } from './render.ts';

type Out = Pick<NodeJS.WriteStream, 'write' | 'isTTY' | 'columns'>;

/** Shows lines as they come: one that is overwritten on a terminal, elsewhere each that is another than the one before. */
class ProgressLine {
  readonly #out: Out;
  #shown = '';

  constructor(out: Out) {
    this.#out = out;
  }

  show(text: string): void {
    if (this.#out.isTTY) this.#out.write(`\r\x1b[2K${text.slice(0, this.#out.columns || 110)}`);
    else if (text !== this.#shown) this.#out.write(`${text}\n`);
    this.#shown = text;
  }

  end(): void {
    if (this.#out.isTTY && this.#shown !== '') this.#out.write('\n');
  }
}

/** Follows an evaluation to its end. @throws Error where it has not ended well */
export async function followEvaluation(
  session: Session,
  id: string,
  out: Out = process.stderr,
): Promise<Evaluation> {
  const line = new ProgressLine(out);
  let last: Evaluation | undefined;
  try {
    for await (const reply of session.clients.evaluation.watchEvaluation(
      { id },
      { signal: session.signal },
    )) {
      last = reply.evaluation!;
      line.show(evaluationLine(last));
    }
  } finally {
    line.end();
    if (session.signal.aborted) out.write(`the evaluation ${id} goes on\n`);
  }
  if (last!.state !== JobState.SUCCEEDED) throw new Error(`the evaluation ${ending(last!)}`);
  return last!;
}

/** `██████░░ 42 %  feeling 1.1.0  42/100 rows  12.3 rows/s  5 s left  exact_match 0.93` */
export function evaluationLine({ state, name, version, progress, results }: Evaluation): string {
  if (!progress || state === JobState.QUEUED) return `${name} ${version} waits for its turn`;
  const { percent, done, total, rowsPerSecond, remainingSeconds } = progress;
  const parts = [`${bar(percent / 100)} ${percent.toFixed(0).padStart(3)} %`, `${name} ${version}`];
  parts.push(`${done}/${total} rows`);
  if (state === JobState.RUNNING && rowsPerSecond > 0) {
    parts.push(`${rowsPerSecond.toFixed(1)} rows/s`, `${duration(remainingSeconds)} left`);
  }
  const [metric, value] = Object.entries(results[0]?.metrics ?? {})[0] ?? [];
  if (metric) parts.push(`${metric} ${figure(value!)}`);
  return parts.join('  ');
}

/** Follows an optimisation to its end. @throws Error where it has not ended well */
export async function followOptimization(
  session: Session,
  id: string,
  out: Out = process.stderr,
): Promise<Optimization> {
  const line = new ProgressLine(out);
  let last: Optimization | undefined;
  try {
    for await (const reply of session.clients.evaluation.watchOptimization(
      { id },
      { signal: session.signal },
    )) {
      last = reply.optimization!;
      line.show(optimizationLine(last));
    }
  } finally {
    line.end();
    if (session.signal.aborted) out.write(`the optimisation ${id} goes on\n`);
  }
  if (last!.state !== JobState.SUCCEEDED) throw new Error(`the optimisation ${ending(last!)}`);
  return last!;
}

/** `██████░░ 42 %  search  round 2  17 tries  420 answers  0.23 → 0.93` */
export function optimizationLine(optimization: Optimization): string {
  const { state, stage, percent, round, tries, calls, firstDevelopment, bestDevelopment } = optimization;
  if (state === JobState.QUEUED) return 'waits for its turn';
  const parts = [
    `${bar(percent / 100)} ${percent.toFixed(0).padStart(3)} %`,
    member(OptimizationStage, stage),
  ];
  parts.push(`round ${round}`, `${tries} tries`, `${calls} answers`);
  parts.push(`${figure(firstDevelopment)} → ${figure(bestDevelopment)}`);
  return parts.join('  ');
}

const ending = ({ state, failure }: { state: JobState; failure: string }) =>
  `${member(JobState, state)}${failure ? `: ${failure}` : ''}`;

export const figure = (value: number): string => String(Number(value.toPrecision(4)));
