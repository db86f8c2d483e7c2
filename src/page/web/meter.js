/**
 * The level of an audio stream, from 0 to 1. A meter that fails shows silence and nothing else depends
 * on it.
 */

import { sound } from './sound.js';

/** Levels shown as 0 and as 1. Speech lies between them. */
const FLOOR_DB = -55;
const CEILING_DB = -12;
/** Fraction by which the level falls in each frame at 60 Hz. It rises immediately. */
const DECAY = 0.12;

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
    try {
      const { context } = sound;
      // A context created outside a click handler may be suspended. Each attach follows a click.
      sound.resume();
      this.#analyser ??= new AnalyserNode(context, { fftSize: 1024 });
      this.#samples = new Float32Array(this.#analyser.fftSize);
      this.#source = context.createMediaStreamSource(stream);
      this.#source.connect(this.#analyser);
    } catch (error) {
      console.warn('no level meter:', error);
    }
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
