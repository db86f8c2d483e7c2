/**
 * The microphone: requesting it, switching between devices, muting, and the reason when it is not
 * available.
 *
 * Events: `track` (the track to be sent has changed; `detail` is the new one), `lost` (the device
 * was unplugged), `devices` (the list of devices has changed), `interrupted` (something else, such as
 * a phone call, has taken the microphone or given it back).
 *
 * @typedef {import('./phase.js').MicrophoneTrouble} MicrophoneTrouble
 */

/** Errors that mean that the requested device does not exist. */
const NO_SUCH_DEVICE = new Set(['OverconstrainedError', 'NotFoundError']);

export class Microphone extends EventTarget {
  /** @type {MediaStream | null} */
  stream = null;
  /** Whether the system sends silence in place of the microphone, which is none of the page's doing. */
  interrupted = false;
  #muted = false;
  /** Counts the requests and closings: what a request finds is used only if none followed it. */
  #generation = 0;

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
   * Opens the microphone, in place of the one that is open.
   * @param {string} [deviceId] if it does not exist, the browser chooses another device.
   * @returns {Promise<boolean>} false, it was closed or requested again meanwhile; then this request
   *   has no effect, even if it failed.
   */
  async open(deviceId) {
    this.#generation += 1;
    const generation = this.#generation;
    const isStale = () => generation !== this.#generation;
    try {
      const stream = await request(deviceId).catch((error) => {
        // Browsers may ignore `ideal`, so the first request is for exactly this device.
        if (deviceId && NO_SUCH_DEVICE.has(error.name) && !isStale()) return request();
        throw error;
      });
      if (isStale()) stop(stream);
      else this.#use(stream);
    } catch (error) {
      if (!isStale()) throw error;
    }
    return !isStale();
  }

  /** @param {MediaStream} stream in place of the one that is open. */
  #use(stream) {
    this.#stop();
    this.stream = stream;
    const [track] = stream.getAudioTracks();
    track.enabled = !this.#muted;
    track.addEventListener('ended', () => {
      if (this.track === track) this.dispatchEvent(new Event('lost'));
    });
    for (const type of ['mute', 'unmute']) {
      track.addEventListener(type, () => {
        if (this.track === track) this.#setInterrupted(type === 'mute');
      });
    }
    this.#setInterrupted(track.muted);
    this.dispatchEvent(new CustomEvent('track', { detail: track }));
  }

  /** @param {boolean} interrupted */
  #setInterrupted(interrupted) {
    if (interrupted === this.interrupted) return;
    this.interrupted = interrupted;
    this.dispatchEvent(new Event('interrupted'));
  }

  /** Stops the microphone, which also removes the browser's recording indicator. */
  close() {
    this.#generation += 1;
    this.#stop();
  }

  #stop() {
    const { stream } = this;
    this.stream = null;
    this.#setInterrupted(false);
    if (stream !== null) stop(stream);
  }
}

/** @param {MediaStream} stream */
function stop(stream) {
  for (const track of stream.getTracks()) track.stop();
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
 * @returns {Promise<MediaDeviceInfo[]>} the devices that have a label. Browsers hide labels before
 *   the first permission.
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
