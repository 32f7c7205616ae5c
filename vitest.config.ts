import { join } from 'node:path';
import { defineConfig } from 'vitest/config';

// Tests and the processes that they start find compiled code where the launcher keeps it.
process.env.NODE_COMPILE_CACHE ??= join(import.meta.dirname, 'node_modules/.cache/landfall');

export default defineConfig({
  test: {
    include: ['{services/*,gateway,deploy,test,proto}/**/*.test.ts'],
    exclude: ['**/node_modules/**'],
    testTimeout: 60_000,
    hookTimeout: 60_000,
    maxWorkers: 2,
    pool: 'forks',
    // Node runs the files as it runs the services: what is tested is what starts, and starts sooner.
    experimental: { viteModuleRunner: false },
    globalSetup: './test/src/global-setup.ts',
    reporters: ['default', './test/src/counts-reporter.ts'],
  },
});
