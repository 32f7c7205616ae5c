/** How far vectors lie from their centre, of the spread of the centres. */
const SPREAD = 0.7;

/** Vectors of length 1 about random centres, as embeddings of things of several kinds lie. */
export class Cluster {
  readonly #centres: Float32Array;
  readonly #dimensions: number;
  readonly #random: () => number;

  constructor(centres: number, dimensions: number, random: () => number) {
    this.#dimensions = dimensions;
    this.#random = random;
    this.#centres = Float32Array.from({ length: centres * dimensions }, () => this.#normal());
  }

  /** @returns [count, dimensions] */
  vectors(count: number): Float32Array {
    const size = this.#dimensions;
    const all = new Float32Array(count * size);
    const centres = this.#centres.length / size;
    for (let row = 0; row < count; row++) {
      const centre = Math.floor(this.#random() * centres) * size;
      let squares = 0;
      for (let k = 0; k < size; k++) {
        const value = this.#centres[centre + k]! + SPREAD * this.#normal();
        all[row * size + k] = value;
        squares += value * value;
      }
      for (let k = 0; k < size; k++) all[row * size + k]! /= Math.sqrt(squares);
    }
    return all;
  }

  /** Box and Muller 1958. */
  #normal(): number {
    const radius = Math.sqrt(-2 * Math.log(1 - this.#random()));
    return radius * Math.cos(2 * Math.PI * this.#random());
  }
}
