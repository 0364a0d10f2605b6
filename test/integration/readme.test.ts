/**
 * Runs the examples of README.md, in their order, against a server of their own. What is an example:
 *
 *   ```sh   whose first command begins with `tallystick` or `npx tallystick`
 *           Each line is a command of its own for sh (a `\` at its end continues it) and must exit with 0. Lines
 *           `#=> text` behind it are its whole output on stdout; `…` in them stands for any text within the line.
 *           Other lines beginning with `#` are comments. `tallystick serve` starts a server that the commands from there
 *           on speak to; leave out --port. The working directory is empty but for access.log, a small log in the
 *           combined format (test/fixtures/access.log).
 *
 *   ```ts or ```js   which imports from `tallystick` or `tallystick/server`: that is this package
 *           A module of its own, run in an empty directory of its own. A ts block is type-checked first. It must exit
 *           with 0. Comments `//=> text`, at the end of a line or on one of their own, are in their order its whole output.
 *
 * The default address, 127.0.0.1:7070, is replaced by the one that the server has, and back in outputs; so is that of HTTP,
 * 127.0.0.1:7080 with `--http-port 7080`. Counters stay from block to block. All other blocks are left alone. `curl` is a
 * stand-in (CURL below), as not every machine has one.
 */

import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

const ROOT = join(import.meta.dirname, '../..');

const DEFAULT_ADDRESS = '127.0.0.1:7070';
const DEFAULT_HTTP_ADDRESS = '127.0.0.1:7080';
/** With the options that the examples use. */
const CURL = `#!/usr/bin/env node
const { parseArgs } = require('node:util');
const options = {
  silent: { type: 'boolean', short: 's' },
  request: { type: 'string', short: 'X' },
  header: { type: 'string', short: 'H', multiple: true, default: [] },
  data: { type: 'string', short: 'd' },
  'no-buffer': { type: 'boolean', short: 'N' },
  'max-time': { type: 'string', short: 'm' },
};
const { values, positionals } = parseArgs({ options, allowPositionals: true });
const headers = values.header.map((header) => header.split(': '));
fetch(positionals[0], { method: values.request, headers, body: values.data }).then(async (response) => {
  for await (const chunk of response.body) {
    process.stdout.write(chunk);
    // From the first event on, so that a busy machine has its time too
    if (values['max-time'] && Buffer.from(chunk).includes('data:')) setTimeout(() => process.exit(28), 100);
  }
  process.stdout.write('\\n');
});
`;
const TIMEOUT_MILLISECONDS = 120_000;
const COMMAND = /^(npx )?tallystick /;
const IMPORT = /^import .* from 'tallystick(\/server)?';$/m;
const SERVE = /^(?:npx )?tallystick serve\b(.*?)\s*&?\s*$/;

interface Example {
  readonly language: 'sh' | 'ts' | 'js';
  readonly text: string;
  /** Where in the page its first line is. */
  readonly line: number;
}

function examplesIn(markdown: string): Example[] {
  const examples: Example[] = [];
  for (const match of markdown.matchAll(/^```(sh|ts|js)\b.*\n([\s\S]*?)^```$/gm)) {
    const language = match[1] as Example['language'];
    const text = match[2] as string;
    const line = markdown.slice(0, match.index).split('\n').length + 1;
    const isExample =
      language === 'sh' ? commandsIn(text).some(({ command }) => COMMAND.test(command)) : IMPORT.test(text);
    if (isExample) examples.push({ language, text, line });
  }
  return examples;
}

interface ShellCommand {
  command: string;
  readonly expected: string[];
}

function commandsIn(text: string): ShellCommand[] {
  const commands: ShellCommand[] = [];
  let continues = false;
  for (const line of text.split('\n')) {
    const last = commands.at(-1);
    if (continues && last) last.command += `\n${line}`;
    else if (line.startsWith('#=> ')) last?.expected.push(line.slice(4));
    else if (line !== '' && !line.startsWith('#')) commands.push({ command: line, expected: [] });
    continues = !line.startsWith('#') && line.endsWith('\\');
  }
  return commands;
}

function expectOutput(actual: string, expected: readonly string[]): void {
  if (expected.length === 0) return;
  const quote = (text: string): string => text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&');
  const pattern = expected.map((line) => line.split('…').map(quote).join('.*')).join('\n');
  if (!new RegExp(`^${pattern}\n?$`).test(actual)) expect(actual.trimEnd()).toBe(expected.join('\n'));
}

/** A directory, a server, and a shell in which `tallystick` is this package. */
class Workplace {
  readonly #directory = mkdtempSync(join(tmpdir(), 'tallystick-readme-'));
  readonly #bin = join(this.#directory, 'bin');
  readonly #work = join(this.#directory, 'work');
  #server: { readonly child: ChildProcess; readonly exited: Promise<number | null> } | undefined;
  #serverLog = '';
  #address = '';
  #httpAddress = '-';
  #modules = 0;

  async open(): Promise<void> {
    mkdirSync(this.#bin);
    mkdirSync(join(this.#work, 'node_modules'), { recursive: true });
    const program = `exec '${process.execPath}' '${join(ROOT, 'bin/tallystick.cjs')}' "$@"`;
    writeFileSync(join(this.#bin, 'tallystick'), `#!/bin/sh\n${program}\n`, { mode: 0o755 });
    writeFileSync(join(this.#bin, 'npx'), `#!/bin/sh\nshift\n${program}\n`, { mode: 0o755 });
    writeFileSync(join(this.#bin, 'package.json'), '{ "type": "commonjs" }');
    writeFileSync(join(this.#bin, 'curl'), CURL, { mode: 0o755 });
    symlinkSync(ROOT, join(this.#work, 'node_modules/tallystick'));
    writeFileSync(join(this.#work, 'package.json'), '{ "type": "module" }');
    copyFileSync(join(ROOT, 'test/fixtures/access.log'), join(this.#work, 'access.log'));
    await this.#serve(` --data-dir '${join(this.#directory, 'data')}'`);
  }

  async close(): Promise<void> {
    await this.#stopServer();
    rmSync(this.#directory, { recursive: true });
  }

  async run({ language, text }: Example): Promise<void> {
    if (language === 'sh') for (const command of commandsIn(text)) await this.#runCommand(command);
    else await this.#runModule(language, text);
  }

  async #runCommand({ command, expected }: ShellCommand): Promise<void> {
    const serve = SERVE.exec(command);
    const output = serve
      ? await this.#serve(serve[1] as string)
      : await this.#execute('sh', ['-c', this.#real(command)]);
    expectOutput(output, expected);
  }

  async #runModule(language: 'ts' | 'js', text: string): Promise<void> {
    this.#modules += 1;
    const directory = join(this.#work, `module-${this.#modules}`);
    mkdirSync(directory);
    writeFileSync(join(directory, `example.${language}`), this.#real(text));
    if (language === 'ts') await this.#compile(directory);
    const expected = [...text.matchAll(/\/\/=> (.*)$/gm)].map(([, line = '']) => line);
    expectOutput(await this.#execute(process.execPath, ['example.js'], directory), expected);
  }

  async #compile(directory: string): Promise<void> {
    const compilerOptions = {
      target: 'es2023',
      lib: ['es2023', 'esnext.disposable'],
      module: 'nodenext',
      strict: true,
      skipLibCheck: true,
      types: ['node'],
      typeRoots: [join(ROOT, 'node_modules/@types')],
    };
    writeFileSync(join(directory, 'tsconfig.json'), JSON.stringify({ compilerOptions, files: ['example.ts'] }));
    await this.#execute(process.execPath, [join(ROOT, 'node_modules/typescript/bin/tsc'), '-p', '.'], directory);
  }

  /** Starts a server in place of the one that runs, and gives its ready line. */
  async #serve(options: string): Promise<string> {
    await this.#stopServer();
    const real = options.replace('--http-port 7080', '--http-port 0');
    const child = spawn('sh', ['-c', `exec tallystick serve${real}`], {
      cwd: this.#work,
      env: this.#environment(),
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    this.#serverLog = '';
    child.stderr.on('data', (text) => {
      this.#serverLog += text;
    });
    const exited = new Promise<number | null>((resolve) => child.once('exit', (code) => resolve(code)));
    for await (const line of createInterface({ input: child.stdout })) {
      this.#server = { child, exited };
      [, this.#address = '', this.#httpAddress = '-'] = /^ready tcp=(\S+) http=(\S+)/.exec(line) ?? [];
      return this.#shown(line);
    }
    throw new Error(`tallystick serve${options} ended before it was ready:\n${this.#serverLog}`);
  }

  async #stopServer(): Promise<void> {
    const server = this.#server;
    this.#server = undefined;
    server?.child.kill('SIGTERM');
    expect(await (server?.exited ?? 0)).toBe(0);
  }

  /** Its stdout; throws unless it exits with 0. */
  #execute(program: string, args: readonly string[], cwd = this.#work): Promise<string> {
    const options = { cwd, env: this.#environment(), timeout: TIMEOUT_MILLISECONDS };
    return new Promise((resolve, reject) => {
      const child = execFile(program, args, options, (error, stdout, stderr) => {
        if (error) reject(new Error(`${error.message}\n${stdout}${stderr}\nThe server:\n${this.#serverLog}`));
        else resolve(this.#shown(stdout));
      });
      child.stdin?.end();
    });
  }

  #environment(): NodeJS.ProcessEnv {
    const server = { TALLYSTICK_SERVER: `tallystick://${this.#address}`, TALLYSTICK_PORT: '0' };
    return { ...process.env, ...server, PATH: `${this.#bin}:${process.env.PATH}` };
  }

  #real(text: string): string {
    return text.replaceAll(DEFAULT_ADDRESS, this.#address).replaceAll(DEFAULT_HTTP_ADDRESS, this.#httpAddress);
  }

  #shown(output: string): string {
    const shown = output.replaceAll(this.#address, DEFAULT_ADDRESS);
    return this.#httpAddress === '-' ? shown : shown.replaceAll(this.#httpAddress, DEFAULT_HTTP_ADDRESS);
  }
}

const workplace = new Workplace();
beforeAll(() => workplace.open());
afterAll(() => workplace.close());

const SAMPLE = `# A page
\`\`\`sh
npm install tallystick
\`\`\`
\`\`\`sh
tallystick incr visits
#=> 1
# A comment.
npx tallystick incr visits \\
  --server tallystick://127.0.0.1:7070 -5   # five less
#=> -4
tallystick ingest access.log --format combined --count 'views:{path}'
printf 'views:/about\\nvisits\\n' | tallystick get -
#=> views:/about   …
#=> visits        -4
\`\`\`
\`\`\`ts
import { connect } from 'tallystick';
import { startServer } from 'tallystick/server';

await using client = await connect('tallystick://127.0.0.1:7070');
const value: bigint = await client.increment('visits', 10);
console.log(value); //=> 6n
const server = await startServer({ dataDir: 'embedded', port: 0 });
console.log(server.state);
//=> serving
await server.close();
\`\`\`
\`\`\`ts
this.is('no example');
\`\`\`
\`\`\`sh
tallystick serve --data-dir other --log-level error &
#=> ready tcp=127.0.0.1:7070 http=-
tallystick get visits
#=> 0
\`\`\`
\`\`\`js
import { connect } from 'tallystick';
const client = await connect('127.0.0.1:7070');
console.log(await client.get('visits')); //=> 0n
await client.close();
\`\`\`
`;

describe('examples', () => {
  it('are found, and run as they say', async () => {
    const examples = examplesIn(SAMPLE);
    expect(examples.map(({ language, line }) => `${language} ${line}`)).toEqual(['sh 6', 'ts 18', 'sh 33', 'js 39']);
    for (const example of examples) await workplace.run(example);
  });

  it.each([
    ['print something else', 'sh', 'tallystick incr wrong\n#=> 2', "expected '1' to be '2'"],
    ['print more', 'sh', 'tallystick get a b\n#=> a  0', "expected 'a  0\\nb  0' to be 'a  0'"],
    ['fail', 'sh', 'tallystick incr wrong 1.5', 'It must be a decimal integer'],
    ['are not served', 'sh', 'tallystick serve --data-dir other --lanes none', 'CONFIG_INVALID'],
    ['have wrong types', 'ts', "import { connect } from 'tallystick';\nconst no: string = connect('x');", 'TS2322'],
    ['import what there is not', 'js', "import { nothing } from 'tallystick';", 'does not provide an export'],
    ['throw', 'js', "throw new Error('thrown');", 'Error: thrown'],
    ['print nothing', 'js', '//=> 1', "expected '' to be '1'"],
  ] as const)('are found out when they %s', async (_, language, text, reason) => {
    await expect(workplace.run({ language, text, line: 1 })).rejects.toThrow(reason);
  });
});

describe('README.md', () => {
  const examples = examplesIn(readFileSync(join(ROOT, 'README.md'), 'utf8'));
  beforeAll(() => workplace.run({ language: 'sh', text: 'tallystick serve --data-dir readme', line: 0 }));

  it('has examples of the command line and of the client', () => {
    const languages = examples.map(({ language }) => language);
    expect(languages).toContain('sh');
    expect(languages.some((language) => language !== 'sh')).toBe(true);
  });

  it.each(examples)('is right in line $line', (example) => workplace.run(example));
});
