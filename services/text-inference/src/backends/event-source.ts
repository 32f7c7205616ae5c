import { garbled } from './openai-errors.ts';

/** Longest event; token texts and their log-probabilities are far shorter. */
const LONGEST_EVENT = 1024 * 1024;

/**
 * The data of server-sent events (WHATWG HTML 9.2) from a body's bytes, up to `maxBytes` of them.
 * @throws ServerFailure where the body is larger, or holds what is no UTF-8
 */
export async function* eventData(body: AsyncIterable<Uint8Array>, maxBytes: number): AsyncGenerator<string> {
  const decoder = new TextDecoder('utf-8', { fatal: true });
  let size = 0;
  let rest = '';
  let data: string[] = [];
  for await (const bytes of body) {
    size += bytes.length;
    if (size > maxBytes) throw garbled('an answer without end');
    rest += decoded(decoder, bytes);
    // A line break cut in two (CR, LF) waits for its other half.
    const end = rest.endsWith('\r') ? rest.length - 1 : rest.length;
    const lines = rest.slice(0, end).split(/\r\n|\r|\n/);
    rest = lines.pop()! + rest.slice(end);
    for (const line of lines) {
      if (line === '') {
        if (data.length > 0) yield data.join('\n');
        data = [];
      } else if (line.startsWith('data:')) data.push(line.slice(line[5] === ' ' ? 6 : 5));
      // Comments keep a connection alive; event names and ids mean nothing here.
    }
    const held = data.reduce((sum, line) => sum + line.length, rest.length);
    if (held > LONGEST_EVENT) throw garbled('an event without end');
  }
  // What has no blank line behind it was cut off and is no event.
}

function decoded(decoder: InstanceType<typeof TextDecoder>, bytes: Uint8Array): string {
  try {
    return decoder.decode(bytes, { stream: true });
  } catch {
    throw garbled('text that is no UTF-8');
  }
}
