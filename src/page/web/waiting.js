/**
 * What helps a visitor who waits: how long it usually takes, a link to share, a notification when a
 * partner was found, and the choice of a queue if the operator offers some.
 */

import { canNotify } from './attention.js';
import { queueOf } from './queue.js';
import { byId, show } from './view.js';
import { duration, queueName, text } from './words.js';

/** A wait shorter than this needs no help. */
const PATIENCE_MS = 5_000;
/** How long the button says that the link was copied. */
const COPIED_MS = 4_000;

export class Waiting {
  /** @type {number | null} When the search began, on the monotonic clock. */
  #since = null;
  /** @type {number | null} */
  #expectedMs = null;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #copiedTimer;
  #notifies = false;
  #canNotify = canNotify();
  /** Whether there is no connection, so that a guest would find no one. */
  #isAway = false;
  /** @type {string[]} */
  #queues = [];

  constructor() {
    byId('share').addEventListener('click', () => this.#share());
    // The setting asks the browser for permission, which needs a click.
    const notify = /** @type {HTMLInputElement} */ (byId('notify'));
    byId('tell').addEventListener('click', () => notify.click());
    byId('notify-field').hidden = !this.#canNotify;
    notify.addEventListener('change', () => {
      this.#notifies = notify.checked;
      this.#show();
    });
    const select = /** @type {HTMLSelectElement} */ (byId('queue'));
    select.addEventListener('change', () => (location.hash = select.value));
    window.addEventListener('hashchange', () => this.#showQueues());
  }

  /** @param {{ expected_wait_ms?: number }} waiting from the server. */
  accepted({ expected_wait_ms = undefined }) {
    this.#expectedMs = expected_wait_ms ?? null;
    this.#show();
  }

  /** @param {string[]} queues that the operator counts by name. */
  offer(queues) {
    if (queues.join() === this.#queues.join()) return;
    this.#queues = queues;
    this.#showQueues();
  }

  /**
   * @param {import('./phase.js').Phase} phase
   * @param {boolean} notifies whether a found partner is notified.
   */
  render(phase, notifies) {
    const { name } = phase;
    this.#isAway = phase.name === 'searching' && phase.line.name === 'away';
    byId('queue-field').hidden = this.#queues.length === 0 || !['ready', 'stopped', 'ended'].includes(name);
    this.#notifies = notifies;
    const isSearching = name === 'searching';
    if (isSearching !== (this.#since !== null)) {
      this.#since = isSearching ? performance.now() : null;
      this.#expectedMs = null;
      clearTimeout(this.#timer);
      if (isSearching) this.#timer = setTimeout(() => this.#show(), PATIENCE_MS);
    }
    this.#show();
  }

  #show() {
    const waited = this.#since === null ? 0 : performance.now() - this.#since;
    const isLong = waited >= PATIENCE_MS || (this.#expectedMs ?? 0) > PATIENCE_MS;
    byId('alone').hidden = this.#since === null || this.#isAway || !isLong;
    byId('tell').hidden = this.#notifies || !this.#canNotify;
    const expected = this.#expectedMs === null ? null : text('waiting.expected', { time: duration(this.#expectedMs) });
    show('expected', expected);
  }

  async #share() {
    const url = location.href;
    try {
      if (navigator.share !== undefined) {
        await navigator.share({ title: 'Switchboard', text: text('share.text'), url });
        return;
      }
      await navigator.clipboard.writeText(url);
      byId('share').textContent = text('share.copied');
    } catch (error) {
      // The visitor has closed the browser's dialog.
      if (/** @type {DOMException} */ (error).name === 'AbortError') return;
      byId('share').textContent = text('share.failed');
    }
    clearTimeout(this.#copiedTimer);
    this.#copiedTimer = setTimeout(() => (byId('share').textContent = text('button.share')), COPIED_MS);
  }

  #showQueues() {
    const { label, name = '' } = queueOf(location.hash);
    // A queue that the address names can be kept, too.
    const names = name === '' || this.#queues.includes(name) ? this.#queues : [...this.#queues, name];
    const options = names.map((queue) => new Option(queue === name ? queueName(label) : queueName(queue), queue));
    const select = /** @type {HTMLSelectElement} */ (byId('queue'));
    select.replaceChildren(new Option(text('queue.any'), ''), ...options);
    select.value = name;
  }
}
