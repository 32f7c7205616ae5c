import { existsSync, globSync, readFileSync } from 'node:fs';
import { builtinModules } from 'node:module';
import { dirname, join, relative, resolve } from 'node:path';
import { expect, test } from 'vitest';

const root = join(import.meta.dirname, '../..');
const files = globSync('{services/*,gateway,deploy,test,proto}/**/*.ts', { cwd: root }).filter(
  (file) => !/node_modules|proto\/gen/.test(file),
);

/** The workspace that a file belongs to: `services/registry`, `gateway`, ... */
const workspaceOf = (file: string) => /^(services\/[^/]+|[^/]+)/.exec(file)![1]!;
const packageOf = (workspace: string) =>
  JSON.parse(readFileSync(join(root, workspace, 'package.json'), 'utf8')) as {
    name: string;
    dependencies?: Record<string, string>;
  };
const workspaces = [...new Set(files.map(workspaceOf))];
const byName = new Map(workspaces.map((workspace) => [packageOf(workspace).name, workspace]));
const rootDependencies = Object.keys(
  (JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { devDependencies: object })
    .devDependencies,
);

function imports(file: string): string[] {
  const text = readFileSync(join(root, file), 'utf8');
  const found = [
    ...text.matchAll(/^\s*(?:import|export)\s[^;'"]*?from\s+'([^']+)'/gm),
    ...text.matchAll(/^\s*import\s+'([^']+)'/gm),
    ...text.matchAll(/\bimport\(\s*'([^']+)'\s*\)/g),
  ];
  return found.map((match) => match[1]!);
}

const packageName = (specifier: string) => /^(@[^/]+\/[^/]+|[^/]+)/.exec(specifier)![1]!;

/** What services and the gateway share; none of these imports another. */
const LIBRARIES = [
  'services/common',
  'services/filtering',
  'services/graph',
  'services/images',
  'services/masking',
  'services/metrics',
  'services/ocr',
  'services/surfaces',
];

/** Which workspaces each may import besides itself. */
function mayImport(from: string, to: string): boolean {
  if (from === to || to === 'proto') return true;
  if (from === 'proto') return false;
  if (from === 'deploy' || from === 'test') return to !== 'test' || from === 'test';
  return !LIBRARIES.includes(from) && LIBRARIES.includes(to);
}

test('workspaces import only what stands below them', () => {
  const wrong: string[] = [];
  for (const file of files) {
    const from = workspaceOf(file);
    for (const specifier of imports(file)) {
      const to = specifier.startsWith('.')
        ? workspaceOf(relative(root, resolve(root, dirname(file), specifier)))
        : byName.get(packageName(specifier));
      // Tests may start the real services that theirs talks to.
      const isTest = /(^|\/)test\/|\.test\.ts$/.test(file);
      if (to && !mayImport(from, to) && !isTest) wrong.push(`${file} imports ${specifier}`);
    }
  }
  expect(wrong).toEqual([]);
});

test('engines and the graph library know nothing of transport, brokers, databases and configuration', () => {
  const outside =
    /^(@grpc\/|@connectrpc\/|@nats-io\/|@mikro-orm\/|@opentelemetry\/|@landfall\/common\/)|\/(config|db|routes|consumers)\//;
  const wrong: string[] = [];
  for (const file of files) {
    if (!/services\/graph\/|\/engine\//.test(file) || /\.test\.ts$/.test(file)) continue;
    for (const specifier of imports(file))
      if (outside.test(specifier)) wrong.push(`${file} imports ${specifier}`);
  }
  expect(wrong).toEqual([]);
});

test('every imported package is listed by its workspace', () => {
  const wrong: string[] = [];
  for (const file of files) {
    const workspace = workspaceOf(file);
    const { name, dependencies = {} } = packageOf(workspace);
    const isTest = /(^|\/)test\/|\.test\.ts$/.test(file);
    for (const specifier of imports(file)) {
      if (specifier.startsWith('.') || specifier.startsWith('node:') || builtinModules.includes(specifier))
        continue;
      const wanted = packageName(specifier);
      if (wanted === name || wanted in dependencies) continue;
      if (
        isTest &&
        (rootDependencies.includes(wanted) ||
          byName.has(wanted) ||
          existsSync(join(root, 'node_modules', wanted)))
      )
        continue;
      wrong.push(`${file} imports ${wanted}, which ${workspace}/package.json does not list`);
    }
  }
  expect(wrong).toEqual([]);
});
