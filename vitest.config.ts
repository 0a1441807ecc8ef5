import { defineConfig } from 'vitest/config'

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    // These need a Kubernetes: `npm run test:cluster`.
    exclude: ['test/cluster/**'],
    testTimeout: 30_000,
    // Child processes and property tests share the machine with each other: two at a time, as cores.
    maxWorkers: 2,
  },
})
