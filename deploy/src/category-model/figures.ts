import { CATEGORIES, type Category, type CategoryModel } from '@landfall/filtering/categories/model.ts';
import { classify } from '@landfall/filtering/categories/scanner.ts';

/** A text with what it is of; categories that nobody has judged are in neither list. */
export interface Labelled {
  text: string;
  of: readonly Category[];
  /** Categories that it is known not to be of. */
  notOf: readonly Category[];
}

export interface Figures {
  texts: number;
  /** Share of the texts of the category that reach the threshold. */
  recall: number;
  /** Share of the texts not of it that do. */
  falseAlarms: number;
  /** Of a text of the category and one that is not: how often the former scores higher. */
  auc: number;
}

export function figuresOf(
  texts: readonly Labelled[],
  threshold: number,
  model?: CategoryModel,
): Partial<Record<Category, Figures>> {
  const scored = texts.map((one) => ({ ...one, scores: classify(one.text, model) }));
  const figures: Partial<Record<Category, Figures>> = {};
  for (const category of CATEGORIES) {
    const scoresOf = (list: 'of' | 'notOf') =>
      scored.filter((one) => one[list].includes(category)).map(({ scores }) => scores[category]);
    const [of, notOf] = [scoresOf('of'), scoresOf('notOf')];
    if (of.length === 0) continue;
    const reach = (scores: readonly number[]) =>
      scores.filter((score) => score >= threshold).length / Math.max(1, scores.length);
    figures[category] = {
      texts: of.length,
      recall: reach(of),
      falseAlarms: reach(notOf),
      auc: auc(of, notOf),
    };
  }
  return figures;
}

/** Area under the ROC curve, by ranks (Mann and Whitney 1947). */
function auc(of: readonly number[], notOf: readonly number[]): number {
  const all = [...of.map((score) => ({ score, own: 1 })), ...notOf.map((score) => ({ score, own: 0 }))];
  all.sort((a, b) => a.score - b.score);
  let ranks = 0;
  for (let i = 0; i < all.length; ) {
    let end = i;
    while (end < all.length && all[end]!.score === all[i]!.score) end++;
    const rank = (i + 1 + end) / 2;
    for (; i < end; i++) ranks += rank * all[i]!.own;
  }
  return (ranks - (of.length * (of.length + 1)) / 2) / Math.max(1, of.length * notOf.length);
}
