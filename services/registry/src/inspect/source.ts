/** Random access to the content of one file, wherever it is kept. */
export type ContentSource = {
  sizeBytes: number;
  /** Up to `length` bytes from `offset`; fewer only at the end of the content. */
  read(offset: number, length: number): Promise<Uint8Array>;
  /** The whole content in order. */
  stream(signal?: AbortSignal): AsyncIterable<Uint8Array>;
};

/** A file of a version under inspection. */
export type InspectedFile = ContentSource & { path: string };

/** The whole content as text, refused above `limitBytes` before anything is read. Throws RangeError, TypeError. */
export async function readText(source: ContentSource, limitBytes: number): Promise<string> {
  if (source.sizeBytes > limitBytes) throw new RangeError(`larger than ${limitBytes} bytes`);
  const bytes = await source.read(0, source.sizeBytes);
  return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
}
