import type { Database } from '@landfall/common/db/database.ts';
import { OptimizationAnswerEntity } from '../db/evaluation-entities.ts';
import { RowWriter } from '../jobs/row-writer.ts';

/** What was answered, and what the answer is worth. */
export interface KeptAnswer {
  output: string;
  scores: Record<string, number>;
  /** Models that were asked for it. */
  calls: number;
}

interface Row {
  question: string;
  content: string;
}

/**
 * Every answer that an optimisation has had, kept in the database: a job that is taken up again goes through the same
 * search with these, and asks a model only for what is missing.
 */
export class KeptAnswers {
  readonly #known: Map<string, KeptAnswer>;
  readonly #writer: RowWriter<Row>;
  /** Answers that count against the budget. */
  calls = 0;
  readonly #counted = new Set<string>();

  private constructor(known: Map<string, KeptAnswer>, writer: RowWriter<Row>) {
    this.#known = known;
    this.#writer = writer;
  }

  static async load(database: Database, jobId: string): Promise<KeptAnswers> {
    const rows = await database.read((em) => em.find(OptimizationAnswerEntity, { jobId }));
    const known = new Map(rows.map(({ question, content }) => [question, JSON.parse(content) as KeptAnswer]));
    const writer = new RowWriter<Row>(database, async (em, written) => {
      const all = written.map((row) => ({ jobId, ...row }));
      await em.upsertMany(OptimizationAnswerEntity, all, { onConflictAction: 'ignore' });
    });
    return new KeptAnswers(known, writer);
  }

  has(question: string): boolean {
    return this.#known.has(question);
  }

  /** The answer that is known, or what `ask` gives. Each counts once, whether it is asked for now or was before. */
  async get(question: string, ask: () => Promise<KeptAnswer>): Promise<KeptAnswer> {
    let answer = this.#known.get(question);
    if (!answer) {
      answer = await ask();
      this.#known.set(question, answer);
      this.#writer.add({ question, content: JSON.stringify(answer) });
    }
    if (!this.#counted.has(question)) {
      this.#counted.add(question);
      this.calls += answer.calls;
    }
    return answer;
  }

  settle(): Promise<void> {
    return this.#writer.settle();
  }
}
