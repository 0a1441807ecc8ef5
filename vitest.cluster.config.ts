import { defineConfig } from 'vitest/config'

/** Tests against a real Kubernetes: `npm run test:cluster`. The first run on a machine builds its programs. */
export default defineConfig({
  test: {
    include: ['test/cluster/**/*.test.ts'],
    globalSetup: ['test/cluster/kit/global-setup.ts'],
    // Generous: containers are pulled up, and programs may have to be built first.
    testTimeout: 180_000,
    hookTimeout: 45 * 60_000,
    // One after the other: each has a machine's worth of processes.
    maxWorkers: 1,
    fileParallelism: false,
  },
})
