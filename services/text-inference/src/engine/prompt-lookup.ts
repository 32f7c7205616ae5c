/** The longest and the shortest end that is looked for. */
const LONGEST = 4;
const SHORTEST = 2;

/**
 * Guesses what comes next by what followed the last tokens where they stood before (Saxena 2023, prompt lookup
 * decoding): the longest end that is found, its last occurrence.
 * @param tokens prompt and output so far
 * @returns up to `most` tokens; none where nothing is found
 */
export function lookUp(tokens: readonly number[], most: number): number[] {
  const length = tokens.length;
  for (let size = Math.min(LONGEST, length - 1); size >= SHORTEST; size--) {
    for (let at = length - size - 1; at >= 0; at--) {
      let same = 0;
      while (same < size && tokens[at + same] === tokens[length - size + same]) same++;
      if (same === size) return tokens.slice(at + size, at + size + most);
    }
  }
  return [];
}
