import type { InferenceSession } from 'onnxruntime-node';
import * as ort from 'onnxruntime-node';
import { DetectionService, Image, type OrtInferenceSession, type OrtModule } from 'paddleocr';
import { type Pixels, resized } from './pixels.ts';
import type { Point, Quad } from './reading.ts';

/** Longest side, in pixels, at which lines are looked for: what is larger is looked at smaller. */
const LONGEST = 1600;
/** Images up to this side are looked at in double size: letters of 8 pixels are too small for the model. */
const SMALL = 800;
/** The model passes over what touches the edge. */
const FRAME = 32;
/** What is added to the ends of a line, as a part of its height. */
const MORE = 0.2;

/** Finds lines of text: differentiable binarisation (Liao et al. 2020), by PaddleOCR's PP-OCRv4. */
export class LineDetector {
  readonly #service: DetectionService;

  constructor(session: InferenceSession) {
    // Its types know less of a session than a session has.
    const runtime = ort as unknown as OrtModule;
    this.#service = new DetectionService(runtime, session as unknown as OrtInferenceSession, {
      channelOrder: 'bgr',
      maxSideLength: 2 * LONGEST,
      minimumAreaThreshold: 6,
    });
  }

  /** Quads of lines, in pixels of the image. */
  async find(pixels: Pixels): Promise<Quad[]> {
    const side = Math.max(pixels.width, pixels.height);
    const scale = side <= SMALL ? 2 : Math.min(1, LONGEST / side);
    const { width, height, rgb } = await resized(pixels, scale, FRAME);
    const boxes = await this.#service.run(new Image(width, height, 3, rgb));
    const [across, down] = [(width - 2 * FRAME) / pixels.width, (height - 2 * FRAME) / pixels.height];
    const placed = ({ x, y }: Point): Point => ({ x: (x - FRAME) / across, y: (y - FRAME) / down });
    return boxes.flatMap(({ points }) => (points ? [longer(points.map(placed) as unknown as Quad)] : []));
  }
}

/** A thin first letter is cut off often: lines get a little more paper before and behind them. */
function longer(quad: Quad): Quad {
  const [begin, end, after, below] = quad;
  const length = Math.hypot(end.x - begin.x, end.y - begin.y);
  const height = Math.hypot(below.x - begin.x, below.y - begin.y);
  // A single character may have another one above and below it.
  if (Math.max(length, height) < 1.5 * Math.min(length, height)) return quad;
  const [across, down] = length >= height ? [MORE * (height / length), 0] : [0, MORE * (length / height)];
  const moved = (from: Point, away: Point, along: Point, by: number, sideways: number): Point => ({
    x: from.x + (from.x - away.x) * by + (from.x - along.x) * sideways,
    y: from.y + (from.y - away.y) * by + (from.y - along.y) * sideways,
  });
  return [
    moved(begin, end, below, across, down),
    moved(end, begin, after, across, down),
    moved(after, below, end, across, down),
    moved(below, after, begin, across, down),
  ];
}
