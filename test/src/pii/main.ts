/**
 * `npm run pii:eval -- FILE.jsonl`: how well personal data is found in a file of the presidio-research format. Prints a
 * line a kind (`TYPE recall precision f2`), then all of it as JSON on the last line.
 */
import { evaluate } from './evaluate.ts';
import { FileError, readSamples } from './samples.ts';

const [path, ...rest] = process.argv.slice(2);
if (!path || rest.length > 0) {
  process.stderr.write('npm run pii:eval -- FILE.jsonl\n');
  process.exitCode = 1;
} else {
  try {
    const { types, seconds, bytes, ...more } = evaluate(readSamples(path));
    for (const [type, { recall, precision, f2 }] of Object.entries(types)) {
      const figures = [recall, precision, f2].map((figure) => figure.toFixed(4));
      console.log([type.toUpperCase(), ...figures].join(' '));
    }
    const megabytesPerSecond = Number((bytes / 1e6 / seconds).toFixed(2));
    console.log(JSON.stringify({ types, ...more, bytes, seconds, megabytesPerSecond }));
  } catch (error) {
    if (!(error instanceof FileError)) throw error;
    process.stderr.write(`${error.message}\n`);
    process.exitCode = 1;
  }
}
