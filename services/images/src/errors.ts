/** Why an image is not taken. */
export type ImageFault = 'size' | 'type' | 'pixels' | 'frames' | 'broken' | 'url';

/** An image that is not taken; the message says what is wrong and what would be taken, for people. */
export class ImageError extends Error {
  override readonly name = 'ImageError';
  readonly fault: ImageFault;

  constructor(fault: ImageFault, message: string) {
    super(message);
    this.fault = fault;
  }
}

/** Bytes that are no whole image. */
export function broken(what: string): ImageError {
  return new ImageError('broken', `the image is broken: ${what}`);
}
