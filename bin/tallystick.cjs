#!/usr/bin/env node
// The flushes of every lane take a thread of libuv's pool, whose size is read when it starts: before the first line of an ES
// module runs, but after this one.
const { availableParallelism } = require('node:os');

process.env.UV_THREADPOOL_SIZE ??= String(Math.max(8, 3 * availableParallelism() + 4));
import('../dist/main.js');
