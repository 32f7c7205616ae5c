/** A checkpoint that can't be used, and why; the message names no path outside it. */
export class CheckpointError extends Error {
  override name = 'CheckpointError';
}
