/**
 * The page: a phase, what is done when it changes, and who is told. All parts meet here and
 * nowhere else; phase.js decides, view.js shows.
 */

import { SwitchboardClient } from './client.js';
import { bindSettings, bindShortcuts, listDevices } from './controls.js';
import { Conversation } from './conversation.js';
import { peopleOnline } from './crowd.js';
import { Meter } from './meter.js';
import { Microphone, trouble } from './microphone.js';
import { advance, inCall } from './phase.js';
import { load, save } from './settings.js';
import { Speaker } from './speaker.js';
import { View, byId } from './view.js';
import { grade } from './vitals.js';
import { quality, refusal } from './words.js';

/** How often a page that is being looked at asks how many people there are. */
const CROWD_MS = 30_000;
const NOTICE_MS = 8_000;

/** Partings that say nothing against the next partner. */
const ONWARD = new Set(['left', 'next', 'disconnected', 'timeout', 'lost', 'unreachable']);

class Page {
  /** @type {import('./phase.js').Phase} */
  #phase = { name: 'welcome' };
  /** @type {import('./words.js').Line} */
  #line = { status: 'closed', draining: false, offline: !navigator.onLine };
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
  #client = new SwitchboardClient(new URL('/ws', location.href.replace(/^http/, 'ws')));
  #microphone = new Microphone();
  #speaker = new Speaker(byId('voice'));
  #meters = { you: new Meter(), partner: new Meter() };
  #view = new View();

  start() {
    if (!window.isSecureContext) this.#phase = { name: 'blocked', why: 'insecure' };
    else if (!('RTCPeerConnection' in window) || navigator.mediaDevices === undefined) {
      this.#phase = { name: 'blocked', why: 'no_webrtc' };
    }
    this.#bindKeys();
    this.#bindParts();
    this.#bindClient();
    this.#bindWindow();
    this.#render();
    this.#countPeople();
    setInterval(() => this.#countPeople(), CROWD_MS);
    setInterval(() => this.#view.levels(this.#levels()), 500);
    const frame = (/** @type {number} */ now) => {
      this.#view.frame(now, this.#levels());
      this.#view.tick(this.#phase, Date.now());
      requestAnimationFrame(frame);
    };
    requestAnimationFrame(frame);
  }

  /** @param {import('./phase.js').Event} event */
  #happen(event) {
    const before = this.#phase;
    this.#phase = advance(before, event);
    if (this.#phase === before) return;
    if (inCall(before) && !inCall(this.#phase)) this.#hangUp(event.type === 'search' ? 'next' : 'left');
    this.#enter(before);
    this.#render();
    this.#countPeople();
  }

  /**
   * What a phase brings with it. The call itself has been seen to already.
   * @param {import('./phase.js').Phase} before
   */
  #enter(before) {
    const phase = this.#phase;
    if (phase.name === before.name) return;
    switch (phase.name) {
      case 'asking':
        this.#openMicrophone();
        break;
      case 'ready':
      case 'mic_failed':
        this.#client.cancelMatch();
        this.#client.leaveRoom();
        break;
      case 'searching':
        this.#client.findMatch(queue());
        break;
      case 'parted':
        this.#client.leaveRoom();
        if (this.#settings.onward && ONWARD.has(phase.why)) {
          this.#happen({ type: 'search', at: Date.now(), after: phase.why });
        }
        break;
    }
  }

  async #openMicrophone() {
    try {
      await this.#microphone.open(this.#settings.microphone);
      this.#client.connect();
      this.#happen({ type: 'mic_opened' });
    } catch (error) {
      this.#happen({ type: 'mic_failed', why: trouble(error) });
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
  #dial({ initiator, roomId }) {
    this.#happen({ type: 'matched', at: Date.now() });
    const { track } = this.#microphone;
    if (this.#phase.name !== 'connecting' || track === null) {
      this.#client.leaveRoom();
      return;
    }
    const conversation = new Conversation({
      initiator,
      iceServers: this.#client.iceServers,
      relayOnly: this.#settings.relayOnly,
      track,
      muted: this.#microphone.muted,
      send: (type, payload) => this.#client.signal(type, payload),
      signalled: () => this.#client.status === 'open' && this.#client.room?.roomId === roomId,
    });
    this.#conversation = conversation;
    this.#partnerMuted = false;
    this.#quality = '';
    this.#bindConversation(conversation);
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
        then(/** @type {CustomEvent} */ (event).detail);
        this.#render();
      });
    };
    on('stream', (stream) => {
      this.#speaker.attach(stream);
      this.#meters.partner.attach(stream);
    });
    on('flowing', () => this.#happen({ type: 'audio', at: Date.now() }));
    on('silence', (silent) => this.#happen({ type: 'silence', silent }));
    on('reading', (reading) => (this.#quality = quality(grade(reading), reading)));
    on('muted', (muted) => (this.#partnerMuted = muted));
    on('over', (why) => this.#happen({ type: 'parted', why }));
  }

  #bindClient() {
    const on = (/** @type {string} */ type, /** @type {(detail: any) => void} */ then) => {
      this.#client.addEventListener(type, (event) => {
        then(/** @type {CustomEvent} */ (event).detail);
        this.#render();
      });
    };
    on('status', ({ status, code = this.#line.code }) => {
      this.#line.status = status;
      this.#line.code = status === 'open' ? undefined : code;
      this.#line.draining = this.#client.draining;
    });
    on('session', ({ resumed }) => {
      if (resumed && this.#client.room !== null) this.#conversation?.resync();
    });
    on('match', (room) => this.#dial(room));
    on('relay', ({ type, payload }) => {
      if (type !== 'signal') this.#conversation?.receive(type, payload);
    });
    on('peer_away', () => this.#happen({ type: 'tie', tie: 'away' }));
    on('peer_back', () => {
      this.#happen({ type: 'tie', tie: 'whole' });
      this.#conversation?.resync();
    });
    on('peer_left', ({ reason }) => this.#peerLeft(reason));
    on('room_lost', () => this.#roomLost());
    on('refused', ({ code, message }) => this.#notify(refusal(code, message)));
    on('draining', () => (this.#line.draining = true));
  }

  /** @param {'left' | 'next' | 'disconnected' | 'timeout'} reason */
  #peerLeft(reason) {
    const deliberate = reason === 'left' || reason === 'next';
    // Losing the switchboard is not losing one another.
    if (!deliberate && this.#conversation?.flowing) {
      // A server that shuts down drops one partner first; the other is dropped next.
      this.#happen({ type: 'tie', tie: this.#line.draining ? 'own_gone' : 'partner_gone' });
    } else {
      this.#happen({ type: 'parted', why: reason });
    }
  }

  #roomLost() {
    if (this.#conversation?.flowing) this.#happen({ type: 'tie', tie: 'own_gone' });
    else if (this.#phase.name === 'connecting') this.#happen({ type: 'search', at: Date.now() });
    else this.#happen({ type: 'parted', why: 'lost' });
  }

  #bindParts() {
    this.#microphone.addEventListener('track', () => {
      const { stream, track } = this.#microphone;
      this.#meters.you.attach(stream);
      if (track !== null) this.#conversation?.replaceTrack(track);
    });
    this.#microphone.addEventListener('lost', () => this.#switchMicrophone(''));
    this.#microphone.addEventListener('devices', () => {
      this.#listDevices();
      const { name } = this.#phase;
      if (name === 'mic_failed' && this.#phase.why === 'none') this.#happen({ type: 'ask' });
    });
    this.#speaker.addEventListener('blocked', (event) => {
      this.#playBlocked = /** @type {CustomEvent} */ (event).detail;
      this.#render();
    });
    bindSettings(this.#settings, (name) => this.#changed(name));
    bindShortcuts(this.#settings);
    this.#listDevices();
    this.#speaker.select(this.#settings.speaker).catch(() => {});
  }

  /** @param {keyof import('./settings.js').Settings} name */
  #changed(name) {
    save(this.#settings);
    if (name === 'microphone') this.#switchMicrophone(this.#settings.microphone);
    else if (name === 'speaker') {
      this.#speaker.select(this.#settings.speaker).catch(() => {
        this.#notify('This speaker cannot be used. The one before stays on.');
      });
    }
  }

  /** @param {string} deviceId */
  async #switchMicrophone(deviceId) {
    if (this.#microphone.stream === null) return;
    try {
      await this.#microphone.open(deviceId);
    } catch (error) {
      this.#microphone.close();
      this.#meters.you.attach(null);
      this.#happen({ type: 'mic_failed', why: trouble(error) });
    }
    this.#listDevices();
    this.#render();
  }

  #bindKeys() {
    const on = (/** @type {string} */ id, /** @type {() => void} */ then) => {
      byId(id).addEventListener('click', then);
    };
    on('ask', () => this.#happen({ type: 'ask' }));
    on('start', () => this.#happen({ type: 'search', at: Date.now() }));
    on('next', () => this.#happen({ type: 'search', at: Date.now() }));
    on('stop', () => this.#happen({ type: 'stop' }));
    on('play', () => this.#speaker.play());
    on('mute', () => {
      this.#microphone.muted = !this.#microphone.muted;
      this.#conversation?.tellMuted(this.#microphone.muted);
      this.#render();
    });
  }

  #bindWindow() {
    for (const type of ['online', 'offline']) {
      window.addEventListener(type, () => {
        this.#line.offline = !navigator.onLine;
        this.#render();
      });
    }
    // A page that goes away says so, and its partner is free at once.
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

  async #countPeople() {
    // Many visitors ask one server, so nobody asks who does not care: not in a call.
    if (document.hidden || this.#phase.name === 'talking') return;
    const people = await peopleOnline();
    // Whoever has not turned the microphone on is not on the switchboard, and not counted.
    const own = this.#client.status === 'open' ? 1 : 0;
    this.#others = people === null ? null : people - own;
    this.#render();
  }

  #levels() {
    return { you: this.#meters.you.read(), partner: this.#meters.partner.read() };
  }

  #render() {
    this.#view.render({
      phase: this.#phase,
      line: this.#line,
      others: this.#others,
      open: this.#microphone.track !== null,
      muted: this.#microphone.muted,
      partnerMuted: this.#partnerMuted,
      playBlocked: this.#playBlocked,
      quality: this.#quality,
      notice: this.#notice,
      relayAvailable: hasRelay(this.#client.iceServers),
    });
  }
}

/** A queue of its own can be shared as a link: whatever stands after `#` in the address. */
function queue() {
  return decodeURIComponent(location.hash.slice(1)) || undefined;
}

/** @param {RTCIceServer[]} servers */
function hasRelay(servers) {
  return servers.some(({ urls }) => [urls].flat().some((url) => /^turns?:/.test(url)));
}

new Page().start();
