/** Repeats every kind of user action, so that every metric changes. */

import { setTimeout as pause } from 'node:timers/promises';
import { UpgradeRefused, TestClient, signal } from '../../proxy/lib/test-client.js';

const COUPLES = 8;
const PAUSE_MS = 250;

export class Load {
  /** Users who stay connected while the load runs. */
  static USERS = 2 * COUPLES + 1;
  #http;
  #ws;
  #running = true;
  #tasks = [];

  static async start(server) {
    const load = new Load();
    load.#http = server.url;
    load.#ws = `${server.url.replace('http', 'ws')}ws`;
    const lonely = await TestClient.connect(load.#ws);
    lonely.send('find_match', { queue: 'lonely' });
    await lonely.expects('waiting');
    const couples = [];
    for (let at = 0; at < COUPLES; at += 1) {
      couples.push([at, await TestClient.connect(load.#ws), await TestClient.connect(load.#ws)]);
    }
    load.#tasks = couples.map((couple) => load.#meetRepeatedly(...couple));
    // stop() reports failures.
    for (const task of load.#tasks) task.catch(() => {});
    return load;
  }

  /** Two users who meet, exchange signalling, leave, and meet again. */
  async #meetRepeatedly(at, one, other) {
    for (let round = 0; this.#running; round += 1) {
      await Promise.all([one.findMatch(`couple-${at}`), other.findMatch(`couple-${at}`)]);
      for (let exchange = 0; exchange < 3; exchange += 1) await signal(one, other);
      await one.leaveRoom();
      await other.expects('peer_left');
      if (round % COUPLES === at) await this.#causeErrors(one);
      await pause(PAUSE_MS);
    }
  }

  /** Causes a few errors among many valid messages. */
  async #causeErrors(client) {
    client.sendRaw('{');
    await client.expects('error');
    const visitor = await TestClient.connect(this.#ws);
    visitor.send('cancel_match');
    await visitor.expects('error');
    await visitor.close();
    await fetch(`${this.#http}nowhere`);
    await TestClient.connect(`${this.#ws}/nowhere`).catch((error) => {
      if (!(error instanceof UpgradeRefused)) throw error;
    });
  }

  async stop() {
    this.#running = false;
    await Promise.all(this.#tasks);
  }
}
