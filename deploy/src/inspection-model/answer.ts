import { BOX_SCALE, type Target } from './sample.ts';

/** What the model is asked, by language; the profiles `surface` and `surface-en` ask the same. */
export const PROMPTS = {
  zh: '<image>\n检测图中产品表面的缺陷。',
  en: '<image>\nInspect the surface of the product in the picture for defects.',
};

/** What the boxes of an answer count to: those profiles' `box_scale`. */
export const ANSWER_SCALE = 100;

/** The answer that is learnt: JSON without spaces, its members as the profile's schema orders them. */
export function answerOf(targets: readonly Target[]): string {
  const defects = targets.map(({ type, severity, box }) => ({
    type,
    severity,
    box: box.map((place) => Math.round((place * ANSWER_SCALE) / BOX_SCALE)),
  }));
  return JSON.stringify({ defects });
}
