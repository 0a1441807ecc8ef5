import { defineConfig } from 'vitest/config'

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    testTimeout: 30_000,
    // Child processes and property tests share the machine with each other: two at a time, as cores.
    maxWorkers: 2,
  },
})
