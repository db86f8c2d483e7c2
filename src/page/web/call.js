/**
 * One voice call: an RTCPeerConnection that uses the W3C's perfect negotiation pattern
 * (WebRTC 1.0 §10.7). The initiator is the impolite peer; the other yields when offers collide.
 *
 * watch.js decides when a call has ended or needs an ICE restart, not this class. Input of
 * `receive` is untrusted: descriptions and candidates that the browser rejects are dropped.
 *
 * Relayed payloads: `offer` and `answer` carry an RTCSessionDescriptionInit, `ice_candidate` an
 * RTCIceCandidateInit, or null at the end of the candidates.
 *
 * Beside the audio there is one data channel, `control`, pre-negotiated with id 0. It carries
 * `{ muted }` and `{ bye }`, so these reach the partner even while signalling is down.
 *
 * Events, and what their `detail` holds:
 * - `state`   the connection state, as RTCPeerConnection names it.
 * - `audio`   the partner's MediaStream.
 * - `muted`   whether the partner is muted.
 * - `bye`     the partner hangs up: `left` or `next`.
 * - `ice_error` `{ url, code, text }`: a STUN or TURN server failed.
 * - `gathered` the number of local candidates, when gathering is complete.
 */

/** Most candidates that are kept until their description arrives. A browser gathers far fewer. */
const MOST_EARLY_CANDIDATES = 64;

/** How long the connection stays open after the call, so that `bye` can be sent. */
const CLOSE_DELAY_MS = 300;

export class Call extends EventTarget {
  #pc;
  #polite;
  #track;
  #send;
  #iceServers;
  #candidates = 0;
  #makingOffer = false;
  #ignoreOffer = false;
  /** @type {RTCIceCandidateInit[]} Candidates that arrived before their description. */
  #earlyCandidates = [];
  /** @type {RTCDataChannel | null} */
  #control = null;
  /** @type {RTCRtpSender | null} */
  #sender = null;
  #muted = false;
  #closed = false;
  /** Received messages are handled one at a time, so that no candidate overtakes a description. */
  #receiveQueue = Promise.resolve();

  /**
   * @param {object} options
   * @param {boolean} options.initiator
   * @param {() => RTCIceServer[]} options.iceServers the present ones.
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
    this.#iceServers = iceServers;
    const iceTransportPolicy = relayOnly ? 'relay' : 'all';
    this.#pc = new RTCPeerConnection({ iceServers: iceServers(), iceTransportPolicy });
    this.#listen();
    // The other side adds its audio after it has received the first offer, so that the first
    // offers never collide.
    if (initiator) this.#addMedia();
  }

  /** @returns {RTCPeerConnectionState} */
  get state() {
    return this.#pc.connectionState;
  }

  /** Whether this side waits for the answer to an offer. */
  get unanswered() {
    return this.#pc.signalingState === 'have-local-offer';
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
    this.#receiveQueue = this.#receiveQueue.then(handle).catch((error) => {
      if (!this.#closed) console.warn('dropped from the partner:', type, error);
    });
  }

  /**
   * The server did not pass a message on. An offer is sent again until it is answered, so a lost answer
   * is what the partner waits for.
   * @param {boolean} answer whether an answer was lost.
   */
  repeat(answer) {
    const { signalingState, localDescription } = this.#pc;
    if (answer && signalingState === 'stable' && localDescription?.type === 'answer') {
      this.#send('answer', localDescription);
    }
    this.resync();
  }

  /** Restarts ICE. The audio continues over the old path in the meantime. */
  restart() {
    try {
      // The credentials of a TURN server may have ended since the call began.
      this.#pc.setConfiguration({ ...this.#pc.getConfiguration(), iceServers: this.#iceServers() });
    } catch (error) {
      console.warn('the ICE servers stay as they were:', error);
    }
    this.#pc.restartIce();
  }

  /** After signalling was down: a message in flight may be lost, so the offer is sent again. */
  resync() {
    this.restart();
    if (this.unanswered) this.#send('offer', this.#pc.localDescription);
  }

  /** @param {MediaStreamTrack} track another microphone, without a new negotiation. */
  async replaceTrack(track) {
    this.#track = track;
    await this.#sender?.replaceTrack(track);
  }

  /** @param {boolean} muted sent to the partner; the microphone mutes the track itself. */
  sendMuted(muted) {
    this.#muted = muted;
    this.#sendControl({ muted });
  }

  /**
   * Hangs up.
   * @param {'left' | 'next'} bye sent to the partner.
   */
  close(bye) {
    this.#closed = true;
    this.#sendControl({ bye });
    // The audio stops now. The connection stays open for a short time, so that `bye` is sent.
    this.#sender?.replaceTrack(null).catch(() => {});
    setTimeout(() => this.#pc.close(), CLOSE_DELAY_MS);
  }

  #addMedia() {
    this.#sender = this.#pc.addTrack(this.#track, new MediaStream([this.#track]));
    this.#control = this.#pc.createDataChannel('control', { negotiated: true, id: 0 });
    this.#control.addEventListener('open', () => this.#sendControl({ muted: this.#muted }));
    this.#control.addEventListener('message', ({ data }) => this.#receiveControl(data));
    // DTLS reports its end immediately; ICE does so only after its checks have timed out. Firefox also
    // closes the channel when nothing of it was acknowledged for long: then the partner did not leave.
    this.#control.addEventListener('close', () => {
      if (this.#pc.connectionState === 'connected') this.#emit('bye', 'left');
    });
  }

  #listen() {
    const pc = this.#pc;
    pc.addEventListener('negotiationneeded', () => this.#offer());
    pc.addEventListener('icecandidate', ({ candidate }) => this.#localCandidate(candidate));
    pc.addEventListener('connectionstatechange', () => this.#emit('state', pc.connectionState));
    pc.addEventListener('icecandidateerror', ({ url, errorCode, errorText }) => {
      this.#emit('ice_error', { url, code: errorCode, text: errorText });
    });
    pc.addEventListener('track', ({ track, transceiver }) => {
      if (transceiver !== this.#firstAudio()) return;
      this.#emit('audio', new MediaStream([track]));
    });
  }

  /** The transceiver of the call: the page sends and plays one audio track. */
  #firstAudio() {
    return this.#pc.getTransceivers().find(({ receiver }) => receiver.track.kind === 'audio');
  }

  /**
   * Stops what a partner offers beyond the call. A video or a second audio would be received and
   * decoded with nothing to see or hear; a stopped transceiver is refused in the answer (JSEP §5.3.1).
   */
  #stopOthers() {
    for (const transceiver of this.#pc.getTransceivers()) {
      if (transceiver.sender !== this.#sender) transceiver.stop();
    }
  }

  /** @param {RTCIceCandidate | null} candidate */
  #localCandidate(candidate) {
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
      if (!this.#closed) this.#send('offer', this.#pc.localDescription);
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
    if (this.#closed) return;
    const pc = this.#pc;
    const collides = type === 'offer' && (this.#makingOffer || pc.signalingState !== 'stable');
    this.#ignoreOffer = collides && !this.#polite;
    if (this.#ignoreOffer) return;
    // In a collision this rolls back the local offer.
    await pc.setRemoteDescription({ type, sdp: payload.sdp });
    for (const candidate of this.#earlyCandidates.splice(0)) await pc.addIceCandidate(candidate);
    if (type === 'answer' || this.#closed) return;
    if (this.#sender === null) this.#addMedia();
    this.#stopOthers();
    await pc.setLocalDescription();
    if (!this.#closed) this.#send('answer', pc.localDescription);
  }

  /** @param {RTCIceCandidateInit | null} candidate */
  async #candidate(candidate) {
    if (this.#pc.remoteDescription === null) {
      const isKept = candidate !== null && this.#earlyCandidates.length < MOST_EARLY_CANDIDATES;
      if (isKept) this.#earlyCandidates.push(candidate);
      return;
    }
    try {
      await this.#pc.addIceCandidate(candidate ?? undefined);
    } catch (error) {
      // Candidates of an ignored offer are not needed.
      if (!this.#ignoreOffer) throw error;
    }
  }

  /** @param {object} message */
  #sendControl(message) {
    if (this.#control?.readyState === 'open') this.#control.send(JSON.stringify(message));
  }

  /** @param {string} data */
  #receiveControl(data) {
    try {
      const { muted, bye } = JSON.parse(data);
      if (typeof muted === 'boolean') this.#emit('muted', muted);
      if (bye === 'left' || bye === 'next') this.#emit('bye', bye);
    } catch {
      // Not sent by this page; the call does not need it.
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
