#!/usr/bin/env node
// As for credential-injector: from the second call on nothing needs to be compiled.
import { enableCompileCache } from 'node:module'

enableCompileCache()
await import('../src/cli/main.ts')
