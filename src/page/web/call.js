/**
 * One voice call: an RTCPeerConnection that negotiates by the W3C's perfect negotiation pattern
 * (WebRTC 1.0 §10.7). Whoever is told to start is impolite; the other yields when offers collide.
 *
 * It does not decide when a call is over or in need of repair; watch.js does. What comes in
 * through `receive` is a stranger's words: whatever the browser refuses is dropped.
 *
 * Relayed payloads: `offer` and `answer` carry an RTCSessionDescriptionInit, `ice_candidate` an
 * RTCIceCandidateInit, or null at the end of the candidates.
 *
 * Beside the audio runs one data channel, `control`, agreed beforehand under id 0. It says
 * `{ muted }` and `{ bye }`, and so reaches the partner even where signalling is away.
 *
 * Events, and what their `detail` holds:
 * - `state`   the connection state, as RTCPeerConnection names it.
 * - `audio`   the partner's MediaStream.
 * - `muted`   whether the partner is.
 * - `bye`     the partner hangs up: `left` or `next`.
 * - `trouble` `{ url, code, text }`: a STUN or TURN server that fails.
 * - `gathered` how many ways to reach this side were found, when all have been looked for.
 */

/** How long a connection outlives the call, for its last words. */
const FAREWELL_MS = 300;

export class Call extends EventTarget {
  #pc;
  #polite;
  #track;
  #send;
  #candidates = 0;
  #makingOffer = false;
  #ignoreOffer = false;
  /** @type {RTCIceCandidateInit[]} Arrived before the description they belong to. */
  #early = [];
  /** @type {RTCDataChannel | null} */
  #control = null;
  /** @type {RTCRtpSender | null} */
  #sender = null;
  #muted = false;
  #closed = false;
  /** What was received is handled one after the other, or candidates overtake descriptions. */
  #inbox = Promise.resolve();

  /**
   * @param {object} options
   * @param {boolean} options.initiator
   * @param {RTCIceServer[]} options.iceServers
   * @param {boolean} options.relayOnly hide this machine's addresses from the partner.
   * @param {MediaStreamTrack} options.track the microphone.
   * @param {boolean} options.muted
   * @param {(type: 'offer' | 'answer' | 'ice_candidate', payload: unknown) => void} options.send
   */
  constructor({ initiator, iceServers, relayOnly, track, muted, send }) {
    super();
    this.#polite = !initiator;
    this.#track = track;
    this.#muted = muted;
    this.#send = send;
    const iceTransportPolicy = relayOnly ? 'relay' : 'all';
    this.#pc = new RTCPeerConnection({ iceServers, iceTransportPolicy });
    this.#listen();
    // The other side adds its audio when the first offer has come, so that the first offers
    // never collide.
    if (initiator) this.#addMedia();
  }

  /** @returns {RTCPeerConnectionState} */
  get state() {
    return this.#pc.connectionState;
  }

  /** @returns {Promise<RTCStatsReport>} */
  getStats() {
    return this.#pc.getStats();
  }

  /**
   * @param {'offer' | 'answer' | 'ice_candidate'} type
   * @param {any} payload as the partner sent it.
   */
  receive(type, payload) {
    const handle = () =>
      type === 'ice_candidate' ? this.#candidate(payload) : this.#description(type, payload);
    this.#inbox = this.#inbox.then(handle).catch((error) => {
      if (!this.#closed) console.warn('dropped from the partner:', type, error);
    });
  }

  /** Looks for a new way through the network. The audio goes on by the old one meanwhile. */
  restart() {
    this.#pc.restartIce();
  }

  /** After signalling was away: what was under way may be lost, so it is said again. */
  resync() {
    this.restart();
    if (this.#pc.signalingState === 'have-local-offer') {
      this.#send('offer', this.#pc.localDescription);
    }
  }

  /** @param {MediaStreamTrack} track another microphone, without a new negotiation. */
  async replaceTrack(track) {
    this.#track = track;
    await this.#sender?.replaceTrack(track);
  }

  /** @param {boolean} muted told to the partner; the track itself is the microphone's. */
  tellMuted(muted) {
    this.#muted = muted;
    this.#say({ muted });
  }

  /**
   * Hangs up.
   * @param {'left' | 'next'} bye told to the partner.
   */
  close(bye) {
    this.#closed = true;
    this.#say({ bye });
    // Silent at once; the connection stays a moment longer, or the farewell dies with it.
    this.#sender?.replaceTrack(null).catch(() => {});
    setTimeout(() => this.#pc.close(), FAREWELL_MS);
  }

  #addMedia() {
    this.#sender = this.#pc.addTrack(this.#track, new MediaStream([this.#track]));
    this.#control = this.#pc.createDataChannel('control', { negotiated: true, id: 0 });
    this.#control.addEventListener('open', () => this.#say({ muted: this.#muted }));
    this.#control.addEventListener('message', ({ data }) => this.#heard(data));
    // DTLS tells of its end at once, ICE only when its checks have timed out.
    this.#control.addEventListener('close', () => this.#emit('bye', 'left'));
  }

  #listen() {
    const pc = this.#pc;
    pc.addEventListener('negotiationneeded', () => this.#offer());
    pc.addEventListener('icecandidate', ({ candidate }) => this.#found(candidate));
    pc.addEventListener('connectionstatechange', () => this.#emit('state', pc.connectionState));
    pc.addEventListener('icecandidateerror', ({ url, errorCode, errorText }) => {
      this.#emit('trouble', { url, code: errorCode, text: errorText });
    });
    pc.addEventListener('track', ({ track }) => {
      if (track.kind !== 'audio') return;
      this.#emit('audio', new MediaStream([track]));
    });
  }

  /** @param {RTCIceCandidate | null} candidate */
  #found(candidate) {
    if (this.#closed) return;
    this.#send('ice_candidate', candidate);
    // An empty candidate ends a generation, null ends them all (WebRTC 1.0 §4.8.1.3).
    if (candidate === null) this.#emit('gathered', this.#candidates);
    else if (candidate.candidate !== '') this.#candidates += 1;
  }

  async #offer() {
    try {
      this.#makingOffer = true;
      await this.#pc.setLocalDescription();
      this.#send('offer', this.#pc.localDescription);
    } catch (error) {
      if (this.#pc.signalingState !== 'closed') console.warn('no offer:', error);
    } finally {
      this.#makingOffer = false;
    }
  }

  /**
   * @param {'offer' | 'answer'} type
   * @param {any} payload
   */
  async #description(type, payload) {
    const pc = this.#pc;
    const collides = type === 'offer' && (this.#makingOffer || pc.signalingState !== 'stable');
    this.#ignoreOffer = collides && !this.#polite;
    if (this.#ignoreOffer) return;
    // Rolls an own offer back where they collide.
    await pc.setRemoteDescription({ type, sdp: payload.sdp });
    for (const candidate of this.#early.splice(0)) await pc.addIceCandidate(candidate);
    if (type === 'answer') return;
    if (this.#sender === null) this.#addMedia();
    await pc.setLocalDescription();
    this.#send('answer', pc.localDescription);
  }

  /** @param {RTCIceCandidateInit | null} candidate */
  async #candidate(candidate) {
    if (this.#pc.remoteDescription === null) {
      if (candidate !== null) this.#early.push(candidate);
      return;
    }
    try {
      await this.#pc.addIceCandidate(candidate ?? undefined);
    } catch (error) {
      // Those that belong to an offer that was not taken are no loss.
      if (!this.#ignoreOffer) throw error;
    }
  }

  /** @param {object} message */
  #say(message) {
    if (this.#control?.readyState === 'open') this.#control.send(JSON.stringify(message));
  }

  /** @param {string} data */
  #heard(data) {
    try {
      const { muted, bye } = JSON.parse(data);
      if (typeof muted === 'boolean') this.#emit('muted', muted);
      if (bye === 'left' || bye === 'next') this.#emit('bye', bye);
    } catch {
      // Not of this page's making, and nothing that a call needs.
    }
  }

  /**
   * @param {string} type
   * @param {unknown} detail
   */
  #emit(type, detail) {
    if (!this.#closed) this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}
