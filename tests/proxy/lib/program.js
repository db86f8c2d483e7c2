/** Programs that listen on a port: starting, waiting, and stopping by process id. */

import { spawn } from 'node:child_process';
import net from 'node:net';
import { setTimeout as pause } from 'node:timers/promises';
import { freePort } from '../../browser/lib/server.js';

const TIMEOUT_MS = 30_000;
const ATTEMPTS = 3;

function answers(port) {
  return new Promise((resolve) => {
    const socket = net.connect(port, '127.0.0.1');
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => resolve(false));
  });
}

export class Program {
  #child;
  #output = '';

  /** Starts the program; returns when its port accepts connections. */
  static async start(command, args, port) {
    const program = new Program();
    program.#child = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'] });
    program.ended = new Promise((resolve) => program.#child.once('close', resolve));
    let failed = null;
    program.#child.once('error', (error) => (failed = error));
    for (const stream of [program.#child.stdout, program.#child.stderr]) {
      stream.on('data', (chunk) => (program.#output += chunk));
    }
    // Do not leave the process behind if the tests are ended.
    const kill = () => program.#child.kill('SIGKILL');
    process.once('exit', kill);
    program.#child.once('close', () => process.off('exit', kill));
    const deadline = Date.now() + TIMEOUT_MS;
    for (;;) {
      const gone = failed ?? program.#child.exitCode ?? program.#child.signalCode;
      if (gone !== null) throw new Error(`${command} ended (${gone}):\n${program.#output}`);
      if (await answers(port)) return program;
      if (Date.now() > deadline) {
        await program.end('SIGKILL');
        throw new Error(`${command} does not answer at ${port}:\n${program.#output}`);
      }
      await pause(50);
    }
  }

  /** Its output so far. */
  get output() {
    return this.#output;
  }

  /** Stops the program and waits; returns its exit status, or the signal that ended it. */
  async end(signal = 'SIGTERM') {
    this.#child.kill(signal);
    const timer = setTimeout(() => this.#child.kill('SIGKILL'), TIMEOUT_MS);
    await this.ended;
    clearTimeout(timer);
    return this.#child.exitCode ?? this.#child.signalCode;
  }
}

/** Retries with other ports when another process has taken a free port before it is used. */
export async function onFreePorts(count, start) {
  for (let attempt = 1; ; attempt += 1) {
    const ports = await Promise.all(Array.from({ length: count }, freePort));
    try {
      return await start(...ports);
    } catch (error) {
      if (attempt === ATTEMPTS || !/in use|cannot bind/i.test(error.message)) throw error;
    }
  }
}

/** Applies replacements; each must occur exactly as often as it says (default: once). */
export function replaced(text, changes) {
  return changes.reduce((changed, [from, to, times = 1]) => {
    const found = changed.split(from).length - 1;
    if (found !== times) throw new Error(`${JSON.stringify(from)} is there ${found} times, not ${times}`);
    return changed.replaceAll(from, () => to);
  }, text);
}

/** Calls `ask` until `accept` accepts its result; the error has the last result. */
export async function eventually(ask, accept, what, timeoutMs = TIMEOUT_MS) {
  const deadline = Date.now() + timeoutMs;
  for (;;) {
    const answer = await ask();
    if (accept(answer)) return answer;
    if (Date.now() > deadline) throw new Error(`${what} did not come; last: ${JSON.stringify(answer)}`);
    await pause(100);
  }
}
