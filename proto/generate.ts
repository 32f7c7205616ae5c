/**
 * `npm run proto`: generates JavaScript and type declarations from the contracts into proto/gen (never
 * committed). It does nothing when neither a contract nor a generator has changed since the last time.
 */
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { globSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

const root = join(import.meta.dirname, '..');
const stampFile = join(root, 'proto/gen/.stamp');

const inputs = globSync('proto/{landfall,third_party}/**/*.proto', { cwd: root }).sort();
const hash = createHash('sha256');
for (const path of [...inputs, 'buf.yaml', 'proto/package.json', 'package-lock.json']) {
  hash.update(path).update(readFileSync(join(root, path)));
}
const stamp = hash.digest('hex');

function current(): string {
  try {
    return readFileSync(stampFile, 'utf8');
  } catch {
    return '';
  }
}

if (current() !== stamp) {
  // Two scripts may run at once: each generates aside and moves its result into place.
  const aside = join(root, `proto/gen-${process.pid}`);
  mkdirSync(aside, { recursive: true });
  try {
    const template = JSON.stringify({
      version: 'v2',
      plugins: [
        {
          local: join(root, 'node_modules/.bin/protoc-gen-es'),
          out: aside,
          opt: ['target=js+dts', 'import_extension=js'],
        },
      ],
    });
    execFileSync(join(root, 'node_modules/.bin/buf'), ['generate', '--template', template], {
      cwd: root,
      stdio: ['ignore', 'inherit', 'inherit'],
    });
    writeFileSync(join(aside, '.stamp'), stamp);
    rmSync(join(root, 'proto/gen'), { recursive: true, force: true });
    renameSync(aside, join(root, 'proto/gen'));
  } finally {
    rmSync(aside, { recursive: true, force: true });
  }
}
