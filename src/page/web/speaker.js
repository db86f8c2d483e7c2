/**
 * Plays the partner's audio: one audio element and its output device.
 *
 * Event: `blocked`: `detail` is whether the browser requires a click before it plays audio.
 */

/** An interruption sooner after the last one is not undone by the page, but by a click. */
const AGAIN_MS = 2_000;

export class Speaker extends EventTarget {
  #element;
  #resumedAt = -AGAIN_MS;

  /** @param {HTMLAudioElement} element */
  constructor(element) {
    super();
    this.#element = element;
    // The page never pauses the element: a phone call does, or another program that plays.
    element.addEventListener('pause', () => this.#interrupted());
    element.addEventListener('playing', () => this.#emit(false));
    document.addEventListener('visibilitychange', () => {
      if (!document.hidden && this.#isPaused) this.play();
    });
  }

  get #isPaused() {
    return this.#element.srcObject !== null && this.#element.paused;
  }

  #interrupted() {
    if (!this.#isPaused) return;
    const now = performance.now();
    const isFirst = now - this.#resumedAt >= AGAIN_MS;
    this.#resumedAt = now;
    if (isFirst) this.play();
    else this.#emit(true);
  }

  /** @param {boolean} blocked */
  #emit(blocked) {
    this.dispatchEvent(new CustomEvent('blocked', { detail: blocked }));
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
      // An AbortError means that another stream was attached, or that it was paused again.
      blocked = /** @type {DOMException} */ (error).name === 'NotAllowedError' || this.#isPaused;
    }
    this.#emit(blocked);
  }

  /** @param {string} deviceId */
  async select(deviceId) {
    if (Speaker.selectable) await this.#element.setSinkId(deviceId);
  }
}
