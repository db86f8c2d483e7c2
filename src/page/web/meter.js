/**
 * The level of an audio stream, from 0 to 1. All meters of the page share one AudioContext.
 */

/** Levels shown as 0 and as 1. Speech lies between them. */
const FLOOR_DB = -55;
const CEILING_DB = -12;
/** Fraction by which the level falls in each frame at 60 Hz. It rises immediately. */
const DECAY = 0.12;

/** @type {AudioContext | null} */
let context = null;

export class Meter {
  /** @type {AnalyserNode | null} */
  #analyser = null;
  /** @type {MediaStreamAudioSourceNode | null} */
  #source = null;
  /** @type {Float32Array<ArrayBuffer>} */
  #samples = new Float32Array(0);
  #level = 0;

  /** @param {MediaStream | null} stream */
  attach(stream) {
    this.#source?.disconnect();
    this.#source = null;
    this.#level = 0;
    if (stream === null) return;
    context ??= new AudioContext();
    // A context created outside a click handler may be suspended. Each attach follows a click.
    if (context.state === 'suspended') context.resume().catch(() => {});
    this.#analyser ??= new AnalyserNode(context, { fftSize: 1024 });
    this.#samples = new Float32Array(this.#analyser.fftSize);
    this.#source = context.createMediaStreamSource(stream);
    this.#source.connect(this.#analyser);
  }

  /** Returns the level. To be called once in each frame. */
  read() {
    if (this.#source === null || this.#analyser === null) return 0;
    this.#analyser.getFloatTimeDomainData(this.#samples);
    let sum = 0;
    for (const sample of this.#samples) sum += sample * sample;
    const db = 10 * Math.log10(sum / this.#samples.length + 1e-12);
    const loud = Math.min(1, Math.max(0, (db - FLOOR_DB) / (CEILING_DB - FLOOR_DB)));
    this.#level = Math.max(loud, this.#level * (1 - DECAY));
    return this.#level;
  }
}
