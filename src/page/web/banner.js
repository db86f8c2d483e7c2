/**
 * The state of the connection to the server, as the banner shows it: follows the client and the
 * browser, and finds out what is in the way when no connection can be opened.
 */

import { findObstacle } from './obstacle.js';

export class BannerState {
  /** @type {import('./words.js').Connection} */
  connection = { status: 'closed', draining: false, offline: !navigator.onLine, obstacle: null };

  #client;
  #changed;
  /** Attempts to connect that failed in a row. */
  #failures = 0;
  #asking = false;

  /**
   * @param {import('./client.js').SwitchboardClient} client
   * @param {() => void} changed
   */
  constructor(client, changed) {
    this.#client = client;
    this.#changed = changed;
    client.addEventListener('status', (event) => {
      this.#followStatus(/** @type {CustomEvent} */ (event).detail);
    });
    client.addEventListener('draining', () => {
      this.connection.draining = true;
      changed();
    });
    for (const type of ['online', 'offline']) {
      window.addEventListener(type, () => {
        this.connection.offline = !navigator.onLine;
        changed();
      });
    }
  }

  /** @param {{ status: import('./client.js').Status, code?: number, opened?: boolean }} detail */
  #followStatus({ status, code = this.connection.code, opened }) {
    this.connection.status = status;
    this.connection.code = status === 'open' ? undefined : code;
    this.connection.draining = this.#client.draining;
    if (status === 'open' || opened === true) {
      this.#failures = 0;
      this.connection.obstacle = null;
    } else if (status === 'retrying' && code === 1006) {
      this.#failures += 1;
      this.#askForObstacle();
    }
    this.#changed();
  }

  /** After an upgrade that failed, about which the browser says no more than that. */
  async #askForObstacle() {
    if (this.#asking || this.connection.offline) return;
    this.#asking = true;
    const { obstacle, waitMs } = await findObstacle(location.href, this.#failures);
    this.#asking = false;
    if (this.#failures === 0) return;
    this.connection.obstacle = obstacle;
    if (waitMs > 0) this.#client.retryAfter(waitMs);
    this.#changed();
  }
}
