/** The demo's last line on standard output. */
export interface DemoResult {
  ok: boolean;
  steps: { name: string; seconds: number }[];
  bleu: { base: number; tuned: number };
  secondsFromJobEndToFirstAnswer: number;
  replicas: number;
  modelReadyEvents: number;
  answers: { question: string; base: string; tuned: string }[];
  /** Images, what was reported of each, and where the model looked for its defects. */
  inspections: { file: string; report: string; overlay: string }[];
}

/** A step that could not be done, named for the person who reads it. */
export class StepError extends Error {
  readonly step: string;

  constructor(step: string, cause: unknown) {
    super(`step "${step}" failed: ${cause instanceof Error ? cause.message : String(cause)}`, { cause });
    this.step = step;
  }
}

/** Runs steps one by one and keeps their times. */
export class Steps {
  readonly done: DemoResult['steps'] = [];

  async run<T>(name: string, work: () => Promise<T>): Promise<T> {
    const startMs = performance.now();
    try {
      return await work();
    } catch (error) {
      throw new StepError(name, error);
    } finally {
      this.done.push({ name, seconds: Math.round(performance.now() - startMs) / 1000 });
    }
  }
}
