/**
 * Plays the partner's audio: one audio element and its output device.
 *
 * Event: `blocked`: `detail` is whether the browser requires a click before it plays audio.
 */
export class Speaker extends EventTarget {
  #element;

  /** @param {HTMLAudioElement} element */
  constructor(element) {
    super();
    this.#element = element;
  }

  /** Whether this browser lets a page choose the output device. */
  static get selectable() {
    return 'setSinkId' in HTMLMediaElement.prototype;
  }

  /** @param {MediaStream | null} stream */
  async attach(stream) {
    this.#element.srcObject = stream;
    if (stream !== null) await this.play();
  }

  /** Plays. After `blocked`, to be called from a click handler. */
  async play() {
    let blocked = false;
    try {
      await this.#element.play();
    } catch (error) {
      // An AbortError means that another stream was attached in the meantime.
      blocked = /** @type {DOMException} */ (error).name === 'NotAllowedError';
    }
    this.dispatchEvent(new CustomEvent('blocked', { detail: blocked }));
  }

  /** @param {string} deviceId */
  async select(deviceId) {
    if (Speaker.selectable) await this.#element.setSinkId(deviceId);
  }
}
