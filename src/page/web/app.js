/**
 * The page: holds the phase, carries out the effects of phase changes, and connects the parts
 * with each other. phase.js decides, view.js shows.
 */

import { SwitchboardClient } from './client.js';
import { askBeforeLeaving, Notifier, WakeLock } from './attention.js';
import { BannerState } from './banner.js';
import { bindSettings, bindShortcuts, listDevices } from './controls.js';
import { Conversation } from './conversation.js';
import { hasRelay, lastingServers } from './ice.js';
import { countedQueues, usersOnline } from './users.js';
import { Meter } from './meter.js';
import { Microphone, trouble } from './microphone.js';
import { advance, inCall, lineOf } from './phase.js';
import { queueOf } from './queue.js';
import { load, save } from './settings.js';
import { sound } from './sound.js';
import { Speaker } from './speaker.js';
import { View, byId, showLanguage } from './view.js';
import { Waiting } from './waiting.js';
import { grade } from './vitals.js';
import { chooseLanguage, quality, refusal, text, useLanguage } from './words.js';

/** How often a visible page requests the number of users. */
const USERS_MS = 30_000;
const NOTICE_MS = 8_000;

/** Ends of a call after which the next partner can be searched for without asking. */
const CONTINUABLE = new Set(['left', 'next', 'disconnected', 'timeout', 'lost', 'unreachable']);

/** Messages to the partner. Whether one was passed on concerns the call, not the visitor. */
const RELAYED = new Set(['offer', 'answer', 'ice_candidate']);

class Page {
  /** @type {import('./phase.js').Phase} */
  #phase = { name: 'welcome' };
  /** @type {Extract<import('./phase.js').Line, { name: 'held' }> | null} */
  #held = null;
  /** @type {Map<string | undefined, string>} The queues that were searched in, as the address named them. */
  #labels = new Map();
  /** @type {RTCIceServer[]} Those of the session, which last longer than those of a match. */
  #sessionServers = [];
  /** @type {Conversation | null} */
  #conversation = null;
  /** @type {string | null} */
  #notice = null;
  /** @type {number | null} */
  #others = null;
  #quality = '';
  #partnerMuted = false;
  #playBlocked = false;

  #settings = load();
  #client = new SwitchboardClient(new URL('ws', location.href.replace(/^http/, 'ws')));
  #microphone = new Microphone();
  #speaker = new Speaker(byId('voice'));
  #meters = { you: new Meter(), partner: new Meter() };
  #view = new View();
  #waiting = new Waiting();
  #banner = new BannerState(this.#client, () => this.#render());
  #notifier = new Notifier();
  #wakeLock = new WakeLock();

  start() {
    if (!window.isSecureContext) this.#phase = { name: 'blocked', why: 'insecure' };
    else if (!('RTCPeerConnection' in window) || navigator.mediaDevices === undefined) {
      this.#phase = { name: 'blocked', why: 'no_webrtc' };
    }
    this.#bindButtons();
    this.#bindParts();
    this.#bindClient();
    this.#bindWindow();
    this.#render();
    this.#countUsers();
    setInterval(() => this.#countUsers(), USERS_MS);
    setInterval(() => this.#view.levels(this.#levels()), 500);
    const frame = (/** @type {number} */ now) => {
      this.#view.frame(now, this.#levels());
      this.#view.tick(this.#phase, Date.now());
      requestAnimationFrame(frame);
    };
    requestAnimationFrame(frame);
  }

  /** @param {import('./phase.js').Event} event */
  #dispatch(event) {
    const before = this.#phase;
    this.#phase = advance(before, event);
    if (this.#phase === before) return;
    if (inCall(before) && !inCall(this.#phase)) this.#hangUp(event.type === 'search' ? 'next' : 'left');
    this.#wakeLock.set(inCall(this.#phase));
    askBeforeLeaving(inCall(this.#phase));
    if (!inCall(this.#phase)) this.#notifier.clear();
    this.#enter(before);
    this.#render();
    this.#countUsers();
  }

  /**
   * Carries out the effects of entering a phase. #dispatch has already ended the call.
   * @param {import('./phase.js').Phase} before
   */
  #enter(before) {
    const phase = this.#phase;
    if (phase.name === before.name) return;
    switch (phase.name) {
      case 'asking':
        this.#openMicrophone();
        break;
      case 'stopped':
        this.#microphone.close();
        this.#meters.you.attach(null);
        this.#client.cancelMatch();
        this.#client.leaveRoom();
        break;
      case 'refused':
      case 'mic_failed':
        this.#client.cancelMatch();
        this.#client.leaveRoom();
        break;
      case 'searching':
        this.#search();
        break;
      case 'ended':
        this.#client.leaveRoom();
        if (this.#settings.onward && CONTINUABLE.has(phase.why)) {
          this.#dispatch({ type: 'search', at: Date.now(), after: phase.why });
        }
        break;
    }
  }

  /** Asks for a partner in the queue that the address names, or says why it cannot. */
  #search() {
    const { name, label, tooLong } = queueOf(location.hash);
    this.#labels.set(name ?? 'default', label);
    this.#held = null;
    if (tooLong) this.#dispatch({ type: 'refused', why: 'long_queue' });
    else if (this.#lacksRelay()) this.#dispatch({ type: 'refused', why: 'no_relay' });
    else {
      this.#client.findMatch(name);
      this.#updateLine();
    }
  }

  /** Whether the visitor allows calls through a relay only, and there is none. */
  #lacksRelay() {
    return this.#settings.relayOnly && this.#client.status === 'open' && !hasRelay(this.#client.iceServers);
  }

  /** @returns {import('./view.js').Relay} */
  #relay() {
    if (this.#client.relayOnly) return 'always';
    if (hasRelay(this.#client.iceServers)) return 'available';
    return this.#client.status === 'open' ? 'none' : 'unknown';
  }

  /** Shows what the server has confirmed about the search. */
  #updateLine() {
    if (this.#client.status !== 'open' || this.#client.confirmed === 'waiting') this.#held = null;
    // Where the server does not name the queue, it is the common one.
    const queue = this.#labels.get(this.#client.queue ?? 'default') ?? '';
    const line = lineOf(this.#client.status, this.#client.confirmed, this.#held, queue);
    this.#dispatch({ type: 'line', line, at: Date.now() });
  }

  async #openMicrophone() {
    try {
      if (!(await this.#microphone.open(this.#settings.microphone))) return;
      this.#client.connect();
      this.#dispatch({ type: 'mic_opened', at: Date.now() });
    } catch (error) {
      this.#dispatch({ type: 'mic_failed', why: trouble(error) });
    }
    this.#listDevices();
  }

  #listDevices() {
    return listDevices(() => ({
      microphone: this.#microphone.deviceId ?? '',
      speaker: this.#settings.speaker,
    }));
  }

  /** @param {import('./client.js').Room} room */
  #startCall({ initiator, roomId }) {
    this.#dispatch({ type: 'matched', at: Date.now() });
    const { track } = this.#microphone;
    if (this.#phase.name !== 'connecting' || track === null) {
      this.#client.leaveRoom();
      return;
    }
    this.#hangUp('next');
    const conversation = new Conversation({
      initiator,
      iceServers: () => lastingServers(this.#client.iceServers, this.#sessionServers, Date.now() / 1000),
      relayOnly: this.#settings.relayOnly || this.#client.relayOnly,
      track,
      muted: this.#microphone.muted || this.#microphone.interrupted,
      send: (type, payload) => this.#client.signal(type, payload, roomId),
      signalled: () => this.#client.status === 'open' && this.#client.room?.roomId === roomId,
    });
    this.#conversation = conversation;
    this.#partnerMuted = false;
    this.#quality = '';
    this.#bindConversation(conversation);
    if (this.#settings.ring) sound.ring();
    if (this.#settings.notify) this.#notifier.show(text('found.title'), text('found.body'));
  }

  /** @param {'left' | 'next'} bye */
  #hangUp(bye) {
    this.#conversation?.close(bye);
    this.#conversation = null;
    this.#speaker.attach(null);
    this.#meters.partner.attach(null);
    this.#playBlocked = false;
  }

  /** @param {Conversation} conversation */
  #bindConversation(conversation) {
    const on = (/** @type {string} */ type, /** @type {(detail: any) => void} */ then) => {
      conversation.addEventListener(type, (event) => {
        if (this.#conversation !== conversation) return;
        then(/** @type {CustomEvent} */ (event).detail);
        this.#render();
      });
    };
    on('stream', (stream) => {
      this.#speaker.attach(stream);
      this.#meters.partner.attach(stream);
    });
    on('flowing', () => this.#dispatch({ type: 'audio', at: Date.now() }));
    on('silence', (silent) => this.#dispatch({ type: 'silence', silent }));
    on('reading', (reading) => (this.#quality = quality(grade(reading), reading)));
    on('muted', (muted) => (this.#partnerMuted = muted));
    on('over', (why) => this.#dispatch({ type: 'ended', why }));
  }

  #bindClient() {
    const on = (/** @type {string} */ type, /** @type {(detail: any) => void} */ then) => {
      this.#client.addEventListener(type, (event) => {
        then(/** @type {CustomEvent} */ (event).detail);
        this.#render();
      });
    };
    on('status', () => this.#updateLine());
    on('confirmed', () => this.#updateLine());
    on('session', ({ resumed, iceServers }) => {
      this.#sessionServers = iceServers;
      if (resumed && this.#client.room !== null) this.#conversation?.resync();
      if (this.#lacksRelay()) this.#dispatch({ type: 'refused', why: 'no_relay' });
    });
    on('waiting', (waiting) => {
      this.#updateLine();
      this.#waiting.accepted(waiting);
    });
    on('match', (room) => this.#startCall(room));
    on('relay', ({ type, payload }) => {
      if (type !== 'signal') this.#conversation?.receive(type, payload);
    });
    on('peer_away', () => this.#dispatch({ type: 'signalling', signalling: 'partner_away' }));
    on('peer_back', () => {
      this.#dispatch({ type: 'signalling', signalling: 'up' });
      this.#conversation?.resync();
    });
    on('peer_left', ({ reason }) => this.#peerLeft(reason));
    on('room_lost', () => this.#roomLost());
    on('refused', (error) => this.#refused(error));
  }

  /** @param {{ code: string, message: string, refused?: string, retryAt?: number }} error */
  #refused({ code, message, refused, retryAt }) {
    if (refused === 'find_match' && (retryAt !== undefined || code === 'draining')) {
      const why = code === 'too_many_matches' || code === 'draining' ? code : 'rate_limited';
      this.#held = { name: 'held', why, until: retryAt };
      this.#updateLine();
    } else if (refused === 'find_match') {
      this.#dispatch({ type: 'refused', why: code === 'bad_queue' ? code : 'other' });
    } else if (refused !== undefined && RELAYED.has(refused)) {
      this.#conversation?.notPassedOn(refused);
    } else if (retryAt === undefined) {
      this.#notify(refusal(code, message));
    }
  }

  /** @param {'left' | 'next' | 'disconnected' | 'timeout'} reason */
  #peerLeft(reason) {
    const deliberate = reason === 'left' || reason === 'next';
    // The audio is peer to peer: it continues without signalling.
    if (!deliberate && this.#conversation?.flowing) {
      // A server that shuts down closes one member's connection before the other's.
      this.#dispatch({ type: 'signalling', signalling: this.#banner.connection.draining ? 'own_gone' : 'partner_gone' });
    } else {
      // A reason of a later server is an end that the partner did not choose.
      this.#dispatch({ type: 'ended', why: CONTINUABLE.has(reason) ? reason : 'disconnected' });
    }
  }

  #roomLost() {
    if (this.#conversation?.flowing) this.#dispatch({ type: 'signalling', signalling: 'own_gone' });
    else if (this.#phase.name === 'connecting') this.#dispatch({ type: 'search', at: Date.now() });
    else this.#dispatch({ type: 'ended', why: 'lost' });
  }

  #bindParts() {
    this.#microphone.addEventListener('track', () => {
      const { stream, track } = this.#microphone;
      if (track !== null) this.#conversation?.replaceTrack(track).catch(() => this.#hearNoMore());
      this.#meters.you.attach(stream);
    });
    this.#microphone.addEventListener('interrupted', () => {
      this.#sendMuted();
      this.#render();
    });
    sound.addEventListener('state', () => this.#render());
    document.addEventListener('visibilitychange', () => {
      if (document.hidden) return;
      sound.resume();
      this.#reopenMicrophone();
    });
    this.#microphone.addEventListener('lost', () => this.#switchMicrophone(''));
    this.#microphone.addEventListener('devices', () => {
      this.#listDevices();
      const { name } = this.#phase;
      if (name === 'mic_failed' && this.#phase.why === 'none') this.#dispatch({ type: 'ask' });
    });
    this.#speaker.addEventListener('blocked', (event) => {
      this.#playBlocked = /** @type {CustomEvent} */ (event).detail;
      this.#render();
    });
    // The visitor may have taken the permission back.
    this.#settings.notify &&= Notifier.allowed;
    bindSettings(this.#settings, (name) => this.#changed(name));
    bindShortcuts(this.#settings);
    this.#listDevices();
    this.#speaker.select(this.#settings.speaker).catch(() => {});
  }

  /** @param {keyof import('./settings.js').Settings} name */
  #changed(name) {
    save(this.#settings);
    if (name === 'microphone') this.#switchMicrophone(this.#settings.microphone);
    else if (name === 'notify') this.#allowNotifications();
    else if (name === 'relayOnly') this.#render();
    else if (name === 'speaker') {
      this.#speaker.select(this.#settings.speaker).catch(() => {
        this.#notify(text('settings.speaker_failed'));
      });
    }
  }

  /** Called by the visitor's click on the setting, as browsers require. */
  async #allowNotifications() {
    if (!this.#settings.notify || (await this.#notifier.ask())) return;
    this.#settings.notify = false;
    save(this.#settings);
    /** @type {HTMLInputElement} */ (byId('notify')).checked = false;
    this.#notify(text('settings.notify_denied'));
  }

  /** The partner sees a microphone that something else has taken as muted. */
  #sendMuted() {
    this.#conversation?.sendMuted(this.#microphone.muted || this.#microphone.interrupted);
  }

  /** The new microphone cannot be sent in this call, and the old one is closed. */
  #hearNoMore() {
    this.#dispatch({ type: 'ended', why: 'lost' });
  }

  /** After an interruption. While it lasts the attempt fails, and the old microphone stays. */
  #reopenMicrophone() {
    if (this.#microphone.interrupted) this.#microphone.open(this.#settings.microphone).catch(() => {});
  }

  /** @param {string} deviceId */
  async #switchMicrophone(deviceId) {
    if (this.#microphone.stream === null) return;
    try {
      await this.#microphone.open(deviceId);
    } catch (error) {
      this.#microphone.close();
      this.#meters.you.attach(null);
      this.#dispatch({ type: 'mic_failed', why: trouble(error) });
    }
    this.#listDevices();
    this.#render();
  }

  #bindButtons() {
    const on = (/** @type {string} */ id, /** @type {() => void} */ then) => {
      byId(id).addEventListener('click', then);
    };
    on('ask', () => this.#dispatch({ type: 'ask' }));
    on('start', () => this.#dispatch({ type: 'search', at: Date.now() }));
    on('next', () => this.#dispatch({ type: 'search', at: Date.now() }));
    on('stop', () => this.#dispatch({ type: 'stop' }));
    // One button undoes every interruption.
    on('play', () => {
      sound.resume();
      this.#speaker.play();
      this.#reopenMicrophone();
    });
    on('mute', () => {
      this.#microphone.muted = !this.#microphone.muted;
      this.#sendMuted();
      this.#render();
    });
  }

  #bindWindow() {
    window.addEventListener('hashchange', () => {
      if (this.#phase.name === 'searching') this.#search();
      this.#render();
    });
    // A page that is closed ends its session, so the partner is told at once.
    window.addEventListener('pagehide', () => {
      this.#conversation?.close('left');
      this.#client.close();
    });
    window.addEventListener('pageshow', ({ persisted }) => {
      if (persisted) location.reload();
    });
  }

  /** @param {string} text */
  #notify(text) {
    this.#notice = text;
    this.#render();
    setTimeout(() => {
      if (this.#notice !== text) return;
      this.#notice = null;
      this.#render();
    }, NOTICE_MS);
  }

  async #countUsers() {
    // Every visitor requests this from one server, so hidden pages and calls do not.
    if (document.hidden || this.#phase.name === 'talking') return;
    const users = await usersOnline();
    this.#waiting.offer(countedQueues());
    // A visitor has a session only after the microphone was turned on.
    const own = this.#client.status === 'open' ? 1 : 0;
    this.#others = users === null ? null : users - own;
    this.#render();
  }

  /** A name that cannot be used is shown before the visitor presses Start. */
  #queueNotice() {
    const isEarly = ['welcome', 'ready', 'stopped'].includes(this.#phase.name);
    return isEarly && queueOf(location.hash).tooLong ? text('no_line.long_queue.detail') : null;
  }

  #levels() {
    return { you: this.#meters.you.read(), partner: this.#meters.partner.read() };
  }

  #render() {
    this.#waiting.render(this.#phase, this.#settings.notify);
    this.#view.render({
      phase: this.#phase,
      connection: this.#banner.connection,
      others: this.#others,
      open: this.#microphone.track !== null,
      muted: this.#microphone.muted,
      partnerMuted: this.#partnerMuted,
      micInterrupted: this.#microphone.interrupted,
      playBlocked: this.#playBlocked,
      soundStopped: sound.stopped,
      quality: this.#quality,
      notice: this.#notice ?? this.#queueNotice(),
      relay: this.#relay(),
      relayWanted: this.#settings.relayOnly,
    });
  }
}

/**
 * Allows connections to this host only. The server's policy has to allow WebSockets to every host,
 * because older browsers do not count them as `'self'` and the server does not know its name.
 */
function narrowConnections() {
  const policy = document.createElement('meta');
  policy.httpEquiv = 'Content-Security-Policy';
  policy.content = `connect-src 'self' ws://${location.host} wss://${location.host}`;
  document.head.append(policy);
}

narrowConnections();
useLanguage(chooseLanguage(navigator.languages)).then((chosen) => {
  showLanguage(chosen);
  new Page().start();
});
