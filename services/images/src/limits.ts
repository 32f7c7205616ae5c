/** What is read of an image at most. */
export interface ImageLimits {
  /** Encoded. */
  bytes: number;
  /** Width times height. */
  pixels: number;
}

/** 16 MiB and 25 megapixels. */
export const IMAGE_LIMITS: ImageLimits = { bytes: 16 * 1024 * 1024, pixels: 25_000_000 };
