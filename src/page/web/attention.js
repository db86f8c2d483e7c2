/**
 * Keeps the visitor's attention: a notification when a partner was found while the tab is hidden, a
 * screen that stays on during a call, and the browser's question before the page is left in a call.
 */

export class Notifier {
  /** @type {Notification | null} */
  #shown = null;

  constructor() {
    document.addEventListener('visibilitychange', () => {
      if (!document.hidden) this.clear();
    });
  }

  /**
   * Asks for permission. To be called from a handler of the visitor's action only.
   * @returns {Promise<boolean>} whether notifications can be shown.
   */
  async ask() {
    if (!('Notification' in window)) return false;
    return (await Notification.requestPermission()) === 'granted';
  }

  /**
   * Shows a notification if the tab is hidden and the visitor has allowed it.
   * @param {string} title
   * @param {string} body
   */
  show(title, body) {
    if (!document.hidden || !('Notification' in window) || Notification.permission !== 'granted') return;
    try {
      this.clear();
      const shown = new Notification(title, { body, tag: 'switchboard' });
      shown.addEventListener('click', () => {
        window.focus();
        shown.close();
      });
      this.#shown = shown;
    } catch {
      // Chrome on Android has the constructor, but shows notifications of service workers only.
    }
  }

  clear() {
    this.#shown?.close();
    this.#shown = null;
  }
}

/** Keeps the screen on. Browsers release the lock when the page is hidden. */
export class WakeLock {
  #wanted = false;
  /** @type {WakeLockSentinel | null} */
  #lock = null;

  constructor() {
    document.addEventListener('visibilitychange', () => this.#update());
  }

  /** @param {boolean} wanted */
  set(wanted) {
    if (wanted === this.#wanted) return;
    this.#wanted = wanted;
    this.#update();
  }

  async #update() {
    if (!this.#wanted) {
      await this.#lock?.release().catch(() => {});
      this.#lock = null;
    } else if (!document.hidden && (this.#lock === null || this.#lock.released)) {
      // Refused at low battery, for example: the call works without it.
      this.#lock = (await navigator.wakeLock?.request('screen').catch(() => null)) ?? null;
      // The call may have ended meanwhile.
      if (!this.#wanted) this.#update();
    }
  }
}

/** @param {BeforeUnloadEvent} event */
function question(event) {
  event.preventDefault();
  // Needed by browsers that do not follow the present standard (HTML §7.4.2.3).
  event.returnValue = true;
}

/**
 * The listener is there only while it is needed: it keeps a page from being cached (bfcache).
 * @param {boolean} wanted whether the browser asks before the page is left.
 */
export function askBeforeLeaving(wanted) {
  if (wanted) window.addEventListener('beforeunload', question);
  else window.removeEventListener('beforeunload', question);
}
