import { invalidArgument, resourceExhausted } from '@landfall/common/errors/errors.ts';

/**
 * What one rendering may cost: a unit for each step of a template and for each character that a step makes or reads.
 * Some tens of milliseconds.
 */
const MOST_WORK = 4_000_000;

/** A picture's place in the text that is being made. */
export interface ImagePlace {
  variable: string;
  reference: string;
  /** In UTF-16 units from the turn's beginning. */
  offset: number;
}

/** Bounds of one rendering over all its turns, and the text of the turn that is being made. */
export class Budget {
  #work = MOST_WORK;
  #room: number;
  readonly #maxLength: number;
  #pieces: string[] = [];
  #length = 0;
  #images: ImagePlace[] = [];

  /** @param maxLength characters of text over all turns */
  constructor(maxLength: number) {
    this.#maxLength = maxLength;
    this.#room = maxLength;
  }

  /** Accounts for work before it is done. @throws LandfallError RESOURCE_EXHAUSTED */
  charge(units: number): void {
    this.#work -= units;
    if (!(this.#work >= 0)) {
      throw resourceExhausted(
        'the template costs too much to render: it loops too often or builds too long texts; give it less',
        { reason: 'TEMPLATE_TOO_COSTLY' },
      );
    }
  }

  /** Adds text to the turn. @throws LandfallError INVALID_ARGUMENT beyond the largest prompt */
  emit(text: string): void {
    this.charge(1);
    this.#room -= text.length;
    if (this.#room < 0) {
      throw invalidArgument(
        'variables',
        `the rendered prompt has more than ${this.#maxLength} characters, which is the most`,
      );
    }
    this.#length += text.length;
    this.#pieces.push(text);
  }

  /** Adds the place of a picture. */
  emitImage(variable: string, reference: string): void {
    this.#images.push({ variable, reference, offset: this.#length });
    this.emit(IMAGE);
  }

  /** The turn's text; the next begins empty. */
  take(): { text: string; images: ImagePlace[] } {
    const taken = { text: this.#pieces.join(''), images: this.#images };
    this.#pieces = [];
    this.#length = 0;
    this.#images = [];
    return taken;
  }

  /** What `make` adds, as a text of its own that is not in the turn. Pictures can't be in it. */
  capture(make: () => void): string {
    const [pieces, length, images] = [this.#pieces, this.#length, this.#images.length];
    this.#pieces = [];
    make();
    if (this.#images.length > images)
      throw invalidArgument(
        'variables',
        'a picture can be put in, and not be a part of a text that is set or filtered',
      );
    const text = this.#pieces.join('');
    this.#pieces = pieces;
    this.#length = length;
    this.#room += text.length;
    this.charge(text.length);
    return text;
  }
}

/** What stands in a turn where a picture belongs. */
const IMAGE = '<image>';
