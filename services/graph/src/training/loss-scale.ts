/** What a run with gradients in float16 keeps of its loss scale; part of its checkpoints. */
export interface LossScaleState {
  /** A power of two. */
  scale: number;
  /** Steps since the scale last changed. */
  steady: number;
}

const [FIRST, LEAST, MOST] = [2 ** 16, 2 ** -10, 2 ** 24];
const GROW_AFTER = 2000;

/**
 * The factor on the loss that keeps float16 gradients in range (dynamic loss scaling; Micikevicius et al. 2018, with the
 * figures of PyTorch's GradScaler): halved when a gradient overflows, doubled after 2,000 steps without.
 */
export class LossScale {
  readonly state: LossScaleState;

  constructor(state: LossScaleState = { scale: FIRST, steady: 0 }) {
    this.state = state;
  }

  /**
   * Takes note of a step's gradients.
   * @returns whether they are to be computed again, with the smaller scale; false too where no smaller one helps
   */
  update(overflowed: boolean): boolean {
    const { state } = this;
    if (overflowed) {
      state.steady = 0;
      if (state.scale <= LEAST) return false;
      state.scale /= 2;
      return true;
    }
    if (++state.steady === GROW_AFTER) {
      state.steady = 0;
      state.scale = Math.min(MOST, state.scale * 2);
    }
    return false;
  }
}
