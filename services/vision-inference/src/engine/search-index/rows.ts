/** Vectors of length 1 in one block of memory; a row that was given back is the next one taken. */
export class Rows {
  readonly dimensions: number;
  #values: Float32Array;
  #used = 0;
  readonly #free: number[] = [];

  constructor(dimensions: number, values = new Float32Array(0)) {
    this.dimensions = dimensions;
    this.#values = values;
    this.#used = values.length / dimensions;
  }

  /** Rows below this are taken, or were once. */
  get end(): number {
    return this.#used;
  }

  take(vector: Float32Array): number {
    const row = this.#free.pop() ?? this.#used++;
    const from = row * this.dimensions;
    if (from + this.dimensions > this.#values.length) {
      const larger = new Float32Array(Math.max(64 * this.dimensions, this.#values.length * 1.5));
      larger.set(this.#values);
      this.#values = larger;
    }
    this.#values.set(vector, from);
    return row;
  }

  giveBack(row: number): void {
    this.#free.push(row);
  }

  row(row: number): Float32Array {
    return this.#values.subarray(row * this.dimensions, (row + 1) * this.dimensions);
  }

  /** Product of a row with a vector: of two of length 1 the cosine between them. */
  product(row: number, vector: Float32Array): number {
    const values = this.#values;
    const from = row * this.dimensions;
    // Four sums at a time: each addition would wait for the one before.
    let [a, b, c, d] = [0, 0, 0, 0];
    let k = 0;
    for (; k + 3 < this.dimensions; k += 4) {
      a += values[from + k]! * vector[k]!;
      b += values[from + k + 1]! * vector[k + 1]!;
      c += values[from + k + 2]! * vector[k + 2]!;
      d += values[from + k + 3]! * vector[k + 3]!;
    }
    for (; k < this.dimensions; k++) a += values[from + k]! * vector[k]!;
    return a + b + (c + d);
  }
}
