import { Tape } from '../autodiff/tape.ts';
import type { TowerWeight } from './clip.ts';

/** What a part of a model asks for while it is written. */
export function weightsOf(write: (tape: Tape, weight: TowerWeight) => void): Map<string, readonly number[]> {
  const shapes = new Map<string, readonly number[]>();
  const tape = new Tape();
  write(tape, (name, shape) => {
    shapes.set(name, shape);
    return tape.constant({ name });
  });
  return shapes;
}
