/**
 * The microphone: asking for it, switching between several, muting, and telling in one word why
 * it cannot be had.
 *
 * Events: `track` (another track is to be sent; `detail` is it), `lost` (it was unplugged),
 * `devices` (the list of devices has changed).
 *
 * @typedef {import('./phase.js').MicrophoneTrouble} MicrophoneTrouble
 */

/** Errors that mean that there is no such device. */
const GONE = new Set(['OverconstrainedError', 'NotFoundError']);

export class Microphone extends EventTarget {
  /** @type {MediaStream | null} */
  stream = null;
  #muted = false;

  constructor() {
    super();
    navigator.mediaDevices?.addEventListener('devicechange', () => {
      this.dispatchEvent(new Event('devices'));
    });
  }

  /** @returns {MediaStreamTrack | null} */
  get track() {
    return this.stream?.getAudioTracks()[0] ?? null;
  }

  /** @returns {boolean} */
  get muted() {
    return this.#muted;
  }

  set muted(muted) {
    this.#muted = muted;
    if (this.track !== null) this.track.enabled = !muted;
  }

  /** @returns {string | undefined} */
  get deviceId() {
    return this.track?.getSettings().deviceId;
  }

  /**
   * Opens it, or another one instead.
   * @param {string} [deviceId] one that is gone is no error: the browser takes another.
   */
  async open(deviceId) {
    const stream = await request(deviceId).catch((error) => {
      // Browsers take `ideal` lightly, so one asks for exactly this one, and if need be again.
      if (deviceId && GONE.has(error.name)) return request();
      throw error;
    });
    this.close();
    this.stream = stream;
    const [track] = stream.getAudioTracks();
    track.enabled = !this.#muted;
    track.addEventListener('ended', () => {
      if (this.track === track) this.dispatchEvent(new Event('lost'));
    });
    this.dispatchEvent(new CustomEvent('track', { detail: track }));
  }

  /** Turns it off, and with it the browser's recording sign. */
  close() {
    const { stream } = this;
    this.stream = null;
    for (const track of stream?.getTracks() ?? []) track.stop();
  }
}

/**
 * @param {string} [deviceId]
 */
function request(deviceId) {
  return navigator.mediaDevices.getUserMedia({
    audio: {
      deviceId: deviceId ? { exact: deviceId } : undefined,
      echoCancellation: true,
      noiseSuppression: true,
      autoGainControl: true,
    },
  });
}

/**
 * @param {'audioinput' | 'audiooutput'} kind
 * @returns {Promise<MediaDeviceInfo[]>} those that have a name: before the first permission the
 *   browser tells nobody's.
 */
export async function devices(kind) {
  const all = (await navigator.mediaDevices?.enumerateDevices()) ?? [];
  return all.filter((device) => device.kind === kind && device.label !== '');
}

/**
 * @param {unknown} error of getUserMedia (W3C mediacapture-main §10.6).
 * @returns {MicrophoneTrouble}
 */
export function trouble(error) {
  const { name, message } = /** @type {DOMException} */ (error);
  switch (name) {
    case 'NotAllowedError':
    case 'SecurityError':
      return /dismissed/i.test(message) ? 'dismissed' : 'denied';
    case 'NotFoundError':
    case 'OverconstrainedError':
      return 'none';
    case 'NotReadableError':
    case 'AbortError':
      return 'busy';
    default:
      return 'other';
  }
}
