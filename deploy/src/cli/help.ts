import type { Command } from './command.ts';

/** All commands, a line each. */
export function help(commands: Readonly<Record<string, Command>>): string {
  const list = Object.values(commands);
  const widest = Math.max(...list.map(({ usage }) => usage.length));
  const lines = list.map(({ usage, summary }) => `  ${usage.padEnd(widest)}  ${summary}`);
  return `npm run cli -- COMMAND [options]

${lines.join('\n')}

Every command takes --json (one JSON document on standard output) and --help.
LANDFALL_URL and LANDFALL_API_KEY name the mesh; without them the one that \`npm start\` runs here is used.
Exit codes: 0 done, 1 failed, 2 called wrongly.
`;
}

export function commandHelp({ usage, summary, options, meaning, example }: Command): string {
  const lines = Object.entries(options).map(([name, { type }]) => {
    const head = `--${name}${type === 'string' ? ' VALUE' : ''}`;
    return `  ${head.padEnd(28)}${meaning[name] ?? ''}`;
  });
  return `npm run cli -- ${usage}

${summary}
${lines.length > 0 ? `\n${lines.join('\n')}\n` : ''}
Example: npm run cli -- ${example}
`;
}

/** The name that is nearest to a mistyped one, within a third of its length. */
export function nearest(text: string, names: readonly string[]): string | undefined {
  let [best, found] = [Math.max(2, Math.ceil(text.length / 3)) + 1, undefined as string | undefined];
  for (const name of names) {
    const distance = edits(text, name);
    if (distance < best) [best, found] = [distance, name];
  }
  return found;
}

/** Levenshtein 1966. */
function edits(a: string, b: string): number {
  let before = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const now = [i];
    for (let j = 1; j <= b.length; j++) {
      now[j] = Math.min(now[j - 1]! + 1, before[j]! + 1, before[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1));
    }
    before = now;
  }
  return before[b.length]!;
}
