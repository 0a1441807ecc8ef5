#!/usr/bin/env node
import { enableCompileCache, flushCompileCache } from 'node:module'

// Compiled code is kept in the temporary folder: from the second time on, the start takes half as long and 25 MiB less.
enableCompileCache()
await import('./serve.ts')
// Otherwise it would be written at the end, which a killed process does not reach.
flushCompileCache()
