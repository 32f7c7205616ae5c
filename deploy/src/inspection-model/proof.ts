import { type Figures, figuresOf } from './figures.ts';
import { Reader } from './read.ts';
import { BOX_SCALE, type Sample } from './sample.ts';
import { pixelsOf } from './tower-graph.ts';

/** What a folder's model reports about some samples, beside the truth. @param least probability of what is reported */
export async function proof(folder: string, samples: Iterable<Sample>, least = 0.5): Promise<Figures> {
  const reader = await Reader.open(folder);
  const rows = [];
  for (const sample of samples) {
    const truth = sample.targets.map(({ type, severity, box: [x0, y0, x1, y1] }) => ({
      type,
      severity,
      box: [x0 / BOX_SCALE, y0 / BOX_SCALE, x1 / BOX_SCALE, y1 / BOX_SCALE] as const,
    }));
    rows.push({ truth, reported: await reader.answer(pixelsOf([sample]), least) });
  }
  await reader.release();
  return figuresOf(rows);
}

/** Figures as a line. */
export function shown(figures: Figures): string {
  return Object.entries(figures)
    .map(([name, value]) => `${name} ${Number.isInteger(value) ? value : value.toFixed(3)}`)
    .join(', ');
}
