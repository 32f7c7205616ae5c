import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['{services/*,gateway,deploy,test,proto}/**/*.test.ts'],
    exclude: ['**/node_modules/**'],
    testTimeout: 60_000,
    hookTimeout: 60_000,
    maxWorkers: 2,
    pool: 'forks',
    globalSetup: './test/src/global-setup.ts',
    reporters: ['default', './test/src/counts-reporter.ts'],
  },
});
