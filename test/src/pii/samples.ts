import { readFileSync } from 'node:fs';

/** A text with what stands in it, as presidio-research writes it; places count code points. */
export interface Sample {
  full_text: string;
  spans: { entity_type: string; entity_value?: string; start_position: number; end_position: number }[];
}

export class FileError extends Error {}

/**
 * Reads a JSON array of samples, or one sample a line.
 * @throws FileError that names the file and the line
 */
export function readSamples(path: string): Sample[] {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (cause) {
    throw new FileError(`${path} can't be read: ${(cause as NodeJS.ErrnoException).code}`, { cause });
  }
  if (text.trimStart().startsWith('[')) {
    const list = parsed(text, path) as unknown[];
    return list.map((value, i) => checked(value, `${path}, sample ${i + 1}`));
  }
  return text
    .split('\n')
    .map((line, i) => [line.trim(), `${path}:${i + 1}`] as const)
    .filter(([line]) => line !== '')
    .map(([line, where]) => checked(parsed(line, where), where));
}

function parsed(text: string, where: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new FileError(`${where}: no JSON`, { cause });
  }
}

function checked(value: unknown, where: string): Sample {
  const { full_text: text, spans } = (value ?? {}) as Partial<Sample>;
  if (typeof text !== 'string') throw new FileError(`${where}: full_text must be a text`);
  const whole = (place: unknown) => typeof place === 'number' && Number.isInteger(place) && place >= 0;
  const right = (spans ?? []).every(
    ({ entity_type, start_position: start, end_position: end }) =>
      typeof entity_type === 'string' && whole(start) && whole(end) && start <= end,
  );
  if (!right) throw new FileError(`${where}: spans need entity_type, start_position and end_position`);
  return { full_text: text, spans: spans ?? [] };
}
