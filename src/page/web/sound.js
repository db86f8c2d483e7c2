/**
 * The AudioContext that the level meters and the ring share. Browsers suspend it without a click, and
 * interrupt it during a phone call.
 *
 * Event: `state`: {@link Sound.stopped} has changed.
 */

/** A context that starts or is interrupted for less than this is not worth a button. */
const STANDSTILL_MS = 1_000;

export class Sound extends EventTarget {
  /** @type {AudioContext | null} */
  #context = null;
  /** Without an output device a context never runs, and no click helps. */
  #hasRun = false;
  #stoodStill = false;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;

  /** Created at the first use, which follows a click. Throws where the browser has none left. */
  get context() {
    if (this.#context === null) {
      this.#context = new AudioContext();
      this.#context.addEventListener('statechange', () => {
        // One attempt: while a phone call goes on it fails, and the next change brings another.
        this.resume();
        this.#watch();
      });
      this.#watch();
    }
    return this.#context;
  }

  /** Whether a context that is in use has stood still for a while. */
  get stopped() {
    return this.#stoodStill;
  }

  #watch() {
    clearTimeout(this.#timer);
    if (this.#context?.state === 'running') {
      this.#hasRun = true;
      this.#setStopped(false);
    } else if (this.#hasRun) this.#timer = setTimeout(() => this.#setStopped(true), STANDSTILL_MS);
  }

  /** @param {boolean} stopped */
  #setStopped(stopped) {
    if (stopped === this.#stoodStill) return;
    this.#stoodStill = stopped;
    this.dispatchEvent(new Event('state'));
  }

  /** Works best from a click handler. */
  resume() {
    // Where the browser refuses, the state stays as it is.
    if (this.#context?.state !== 'running') this.#context?.resume().catch(() => {});
  }

  /** Two short tones, as quiet as a notification: a partner was found. */
  ring() {
    try {
      this.resume();
      const { context } = this;
      const gain = new GainNode(context, { gain: 0 });
      const tone = new OscillatorNode(context, { frequency: 660 });
      const at = context.currentTime;
      tone.frequency.setValueAtTime(880, at + 0.18);
      for (const [time, level] of [[0.02, 0.12], [0.16, 0.02], [0.2, 0.12], [0.45, 0]]) {
        gain.gain.linearRampToValueAtTime(level, at + time);
      }
      tone.connect(gain).connect(context.destination);
      tone.start(at);
      tone.stop(at + 0.5);
    } catch {
      // Without Web Audio there is no ring. The page shows the partner all the same.
    }
  }
}

export const sound = new Sound();
