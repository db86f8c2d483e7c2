/** The programs that the tests run against: the server, a TCP proxy in front of it, and coturn. */

import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import net from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { answersStun } from './stun.js';

const ROOT = fileURLToPath(new URL('../../..', import.meta.url));

/** The server binary: SWITCHBOARD_BIN, or the first build that exists. */
function binary() {
  const found = [process.env.SWITCHBOARD_BIN, 'target/debug/switchboard', 'target/release/switchboard']
    .filter((name) => name !== undefined && name !== '')
    .map((name) => path.resolve(ROOT, name))
    .find((file) => existsSync(file));
  if (found === undefined) throw new Error('no server to test: cargo build, or set SWITCHBOARD_BIN');
  return found;
}

/** A free port. A fixed number is needed because a restarted server has to get the same port. */
export async function freePort() {
  const server = net.createServer().listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  const { port } = server.address();
  await new Promise((resolve) => server.close(resolve));
  return port;
}

/** Starts a program and waits until it prints `ready`. */
async function run(command, args, ready) {
  const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'] });
  let output = '';
  await new Promise((resolve, reject) => {
    const fail = (why) => reject(new Error(`${command} ${args.join(' ')}: ${why}\n${output}`));
    const timer = setTimeout(() => fail('did not report that it is ready'), 15_000);
    const onOutput = (chunk) => {
      output += chunk;
      if (!ready.test(output)) return;
      clearTimeout(timer);
      resolve();
    };
    child.stdout.on('data', onOutput);
    child.stderr.on('data', onOutput);
    child.once('error', fail);
    child.once('exit', (code) => fail(`ended with ${code}`));
  });
  child.removeAllListeners('exit');
  return child;
}

/** Stops a program that {@link run} started, and waits until it has ended. */
async function end(child, signal) {
  if (child === null || child.exitCode !== null || child.signalCode !== null) return;
  const ended = new Promise((resolve) => child.once('exit', resolve));
  child.kill(signal);
  const timer = setTimeout(() => child.kill('SIGKILL'), 60_000);
  await ended;
  clearTimeout(timer);
}

export class Server {
  #child = null;

  constructor(port, args) {
    this.port = port;
    this.args = args;
  }

  static async start(...args) {
    const server = new Server(await freePort(), args);
    await server.up();
    return server;
  }

  get url() {
    return `http://127.0.0.1:${this.port}/`;
  }

  async up() {
    const args = ['--listen', `127.0.0.1:${this.port}`, ...this.args];
    this.#child = await run(binary(), args, new RegExp(`127\\.0\\.0\\.1:${this.port}`));
  }

  /** SIGKILL simulates a crash, SIGTERM is a graceful shutdown. */
  async down(signal = 'SIGKILL') {
    await end(this.#child, signal);
    this.#child = null;
  }
}

/** A TCP proxy between pages and the server, to cut connections without a Close frame. */
export class Proxy {
  #sockets = new Set();
  #refuses = false;
  #server;

  static async inFrontOf(server) {
    const proxy = new Proxy();
    proxy.#server = net.createServer((near) => proxy.#join(near, server.port));
    await new Promise((resolve) => proxy.#server.listen(0, '127.0.0.1', resolve));
    proxy.url = `http://127.0.0.1:${proxy.#server.address().port}/`;
    return proxy;
  }

  #join(near, port) {
    if (this.#refuses) {
      near.destroy();
      return;
    }
    const far = net.connect(port, '127.0.0.1');
    for (const [one, other] of [[near, far], [far, near]]) {
      this.#sockets.add(one);
      one.on('error', () => other.destroy());
      one.on('close', () => {
        this.#sockets.delete(one);
        other.destroy();
      });
      one.pipe(other);
    }
  }

  /** Resets all connections and refuses new ones. */
  cut() {
    this.#refuses = true;
    for (const socket of this.#sockets) socket.resetAndDestroy();
  }

  restore() {
    this.#refuses = false;
  }

  close() {
    this.cut();
    this.#server.close();
  }
}

/** A real TURN server with `use-auth-secret`. */
export class Coturn {
  #child = null;
  #folder = mkdtempSync(path.join(tmpdir(), 'switchboard-coturn-'));
  #port;
  #secret;

  static async start(secret) {
    const coturn = new Coturn();
    coturn.#port = await freePort();
    coturn.#secret = secret;
    await coturn.up();
    return coturn;
  }

  async up() {
    this.#child = await run(
      'turnserver',
      [
        ['-n', '--no-cli', '--no-tls', '--no-dtls', '--no-stdout-log', '--log-file=stdout'],
        ['--use-auth-secret', `--static-auth-secret=${this.#secret}`, '--realm=switchboard.test'],
        [`--listening-port=${this.#port}`, '--listening-ip=127.0.0.1', '--relay-ip=127.0.0.1'],
        ['--allow-loopback-peers', `--userdb=${this.#folder}/db`, `--pidfile=${this.#folder}/pid`],
      ].flat(),
      /turn server id=\d+ created/,
    );
    await answersStun(this.#port);
  }

  async down() {
    await end(this.#child, 'SIGKILL');
    this.#child = null;
  }

  /** The server's flags for this relay. A wrong `secret` makes invalid credentials. */
  flags(secret) {
    const file = path.join(this.#folder, `secret-${secret}`);
    writeFileSync(file, `${secret}\n`, { mode: 0o600 });
    const url = `turn:127.0.0.1:${this.#port}?transport=udp`;
    return ['--turn-url', url, '--turn-secret-file', file, '--turn-ttl', '1h'];
  }

  async stop() {
    await this.down();
    rmSync(this.#folder, { recursive: true, force: true });
  }
}
