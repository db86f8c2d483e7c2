/**
 * The partner's voice: one audio element, and which device it sounds from.
 *
 * Event: `blocked`, when the browser wants a click before it plays anything; `detail` says
 * whether it still does.
 */
export class Speaker extends EventTarget {
  #element;

  /** @param {HTMLAudioElement} element */
  constructor(element) {
    super();
    this.#element = element;
  }

  /** Whether this browser lets a page choose where it sounds. */
  static get selectable() {
    return 'setSinkId' in HTMLMediaElement.prototype;
  }

  /** @param {MediaStream | null} stream */
  async attach(stream) {
    this.#element.srcObject = stream;
    if (stream !== null) await this.play();
  }

  /** To be called from a click where `blocked` was said. */
  async play() {
    let blocked = false;
    try {
      await this.#element.play();
    } catch (error) {
      // An AbortError only says that another stream came in between.
      blocked = /** @type {DOMException} */ (error).name === 'NotAllowedError';
    }
    this.dispatchEvent(new CustomEvent('blocked', { detail: blocked }));
  }

  /** @param {string} deviceId */
  async select(deviceId) {
    if (Speaker.selectable) await this.#element.setSinkId(deviceId);
  }
}
