/** A little of everything that users do, again and again, so that every metric has moved. */

import { setTimeout as pause } from 'node:timers/promises';
import { Refused, Talker, signal } from '../../proxy/lib/talker.js';

const COUPLES = 8;
const PAUSE_MS = 250;

export class Load {
  /** Users who stay connected for as long as the load goes on. */
  static USERS = 2 * COUPLES + 1;
  #http;
  #ws;
  #goesOn = true;
  #busy = [];

  static async start(server) {
    const load = new Load();
    load.#http = server.url;
    load.#ws = `${server.url.replace('http', 'ws')}ws`;
    const loner = await Talker.connect(load.#ws);
    loner.says('find_match', { queue: 'lonely' });
    await loner.hears('waiting');
    const couples = [];
    for (let at = 0; at < COUPLES; at += 1) {
      couples.push([at, await Talker.connect(load.#ws), await Talker.connect(load.#ws)]);
    }
    load.#busy = couples.map((couple) => load.#lives(...couple));
    // What fails is told when the load is asked to stop.
    for (const life of load.#busy) life.catch(() => {});
    return load;
  }

  /** Two who meet, talk, part, and meet again when the server lets them. */
  async #lives(at, one, other) {
    for (let turn = 0; this.#goesOn; turn += 1) {
      await Promise.all([one.findsMatch(`couple-${at}`), other.findsMatch(`couple-${at}`)]);
      for (let round = 0; round < 3; round += 1) await signal(one, other);
      await one.leaves();
      await other.hears('peer_left');
      if (turn % COUPLES === at) await this.#errs(one);
      await pause(PAUSE_MS);
    }
  }

  /** Few among many messages, as with users who are well. */
  async #errs(talker) {
    talker.saysRaw('{');
    await talker.hears('error');
    const visitor = await Talker.connect(this.#ws);
    visitor.says('cancel_match');
    await visitor.hears('error');
    await visitor.ends();
    await fetch(`${this.#http}nowhere`);
    await Talker.connect(`${this.#ws}/nowhere`).catch((error) => {
      if (!(error instanceof Refused)) throw error;
    });
  }

  async stop() {
    this.#goesOn = false;
    await Promise.all(this.#busy);
  }
}
