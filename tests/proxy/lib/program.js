/** Programs that listen at a port: started there, waited for, and ended by their process id. */

import { spawn } from 'node:child_process';
import net from 'node:net';
import { setTimeout as pause } from 'node:timers/promises';
import { freePort } from '../../browser/lib/server.js';

const PATIENCE_MS = 30_000;
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

  /** Starts it, and returns when its port answers. */
  static async start(command, args, port) {
    const program = new Program();
    program.#child = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'] });
    program.ended = new Promise((resolve) => program.#child.once('close', resolve));
    let failed = null;
    program.#child.once('error', (error) => (failed = error));
    for (const stream of [program.#child.stdout, program.#child.stderr]) {
      stream.on('data', (chunk) => (program.#output += chunk));
    }
    // Nobody is left behind if the tests themselves are ended.
    const kill = () => program.#child.kill('SIGKILL');
    process.once('exit', kill);
    program.#child.once('close', () => process.off('exit', kill));
    const deadline = Date.now() + PATIENCE_MS;
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

  /** What it has written so far. */
  get output() {
    return this.#output;
  }

  /** Ends it and waits; returns its exit status, or the signal that ended it. */
  async end(signal = 'SIGTERM') {
    this.#child.kill(signal);
    const timer = setTimeout(() => this.#child.kill('SIGKILL'), PATIENCE_MS);
    await this.ended;
    clearTimeout(timer);
    return this.#child.exitCode ?? this.#child.signalCode;
  }
}

/** Somebody else may take a free port before it is used: then with another one. */
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

/** The text with each of these in place of what it has, which has to be there just so often. */
export function replaced(text, changes) {
  return changes.reduce((changed, [from, to, times = 1]) => {
    const found = changed.split(from).length - 1;
    if (found !== times) throw new Error(`${JSON.stringify(from)} is there ${found} times, not ${times}`);
    return changed.replaceAll(from, () => to);
  }, text);
}

/** Asks until the answer is one to be content with; what it was is in the complaint. */
export async function eventually(ask, content, what, patience = PATIENCE_MS) {
  const deadline = Date.now() + patience;
  for (;;) {
    const answer = await ask();
    if (content(answer)) return answer;
    if (Date.now() > deadline) throw new Error(`${what} did not come; last: ${JSON.stringify(answer)}`);
    await pause(100);
  }
}
