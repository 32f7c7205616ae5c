/** A place in pixels of an image; fractions lie within a pixel. */
export interface Point {
  x: number;
  y: number;
}

/** Corners of a line in its own reading direction: where it begins above, ends above, ends below, begins below. */
export type Quad = readonly [Point, Point, Point, Point];

/** One line of text as it was read. */
export interface ReadLine {
  text: string;
  /**
   * Where characters part, as fractions of the line's length from its beginning: the UTF-16 unit `i` of the text lies
   * between `edges[i]` and `edges[i + 1]`.
   */
  edges: number[];
  /** Places in the text before which a blank may stand that was not read. */
  blanks: number[];
  quad: Quad;
  /** Mean probability of its characters, 0 to 1. */
  confidence: number;
}

/** What was read in an image. */
export interface Reading {
  /** Pixels of the image. */
  width: number;
  height: number;
  /** In no order. */
  lines: ReadLine[];
}
