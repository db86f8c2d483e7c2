/**
 * Keeps the visitor's attention: a notification when a partner was found while the tab is hidden, a
 * screen that stays on during a call, and the browser's question before the page is left in a call.
 */

/**
 * Whether this browser shows notifications of a page. Chrome on Android has the constructor, but it
 * throws: it shows those of service workers only. Without permission the constructor shows nothing.
 */
export function canNotify() {
  if (!('Notification' in window)) return false;
  // The page asks for permission only where this was true.
  if (Notification.permission === 'granted') return !/Android.* Chrome\//.test(navigator.userAgent);
  try {
    new Notification('');
    return true;
  } catch {
    return false;
  }
}

export class Notifier {
  /** Whether notifications can be shown and are allowed. */
  static get allowed() {
    return canNotify() && Notification.permission === 'granted';
  }

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
    if (!canNotify()) return false;
    return (await Notification.requestPermission()) === 'granted';
  }

  /**
   * Shows a notification if the tab is hidden and the visitor has allowed it.
   * @param {string} title
   * @param {string} body
   */
  show(title, body) {
    if (!document.hidden || !Notifier.allowed) return;
    this.clear();
    try {
      const shown = new Notification(title, { body, tag: 'switchboard' });
      shown.addEventListener('click', () => {
        window.focus();
        shown.close();
      });
      this.#shown = shown;
    } catch {
      // A browser whose constructor throws and that canNotify does not know: the call goes on without.
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
  #isUpdating = false;
  #isOutdated = false;
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

  /** One update at a time: a second request would leave a lock that is never released. */
  async #update() {
    this.#isOutdated = true;
    if (this.#isUpdating) return;
    this.#isUpdating = true;
    while (this.#isOutdated) {
      this.#isOutdated = false;
      if (!this.#wanted) {
        await this.#lock?.release().catch(() => {});
        this.#lock = null;
      } else if (!document.hidden && (this.#lock === null || this.#lock.released)) {
        // Refused at low battery, for example: the call works without it.
        this.#lock = (await navigator.wakeLock?.request('screen').catch(() => null)) ?? null;
      }
    }
    this.#isUpdating = false;
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
