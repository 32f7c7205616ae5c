import { timestampMs } from '@bufbuild/protobuf/wkt';

/** A prompt by its name, or a folder by its path with a slash at the end (`medical/`; `/` is the whole library). */
export function targetOf(text: string) {
  if (!text.endsWith('/')) return { target: { case: 'prompt' as const, value: text } };
  return { target: { case: 'folder' as const, value: text.slice(0, -1) } };
}

/** To the second, in UTC. */
export const time = (at: Parameters<typeof timestampMs>[0] | undefined) =>
  at ? new Date(timestampMs(at)).toISOString().slice(0, 19) : '';
