import { readFileSync } from 'node:fs';

/**
 * Compiles one of the WebAssembly modules that the build puts into dist/wasm. The path holds from src/ (tests) and
 * from dist/ (the package) alike.
 */
export function compileWasm(name: 'kernel' | 'checksum'): WebAssembly.Module {
  return new WebAssembly.Module(readFileSync(new URL(`../dist/wasm/${name}.wasm`, import.meta.url)));
}
