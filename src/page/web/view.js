/**
 * Shows the model on the page. It holds no state of its own beyond the page's and decides nothing.
 *
 * @typedef {object} Model
 * @property {import('./phase.js').Phase} phase
 * @property {import('./words.js').Connection} connection
 * @property {number | null} others connected users besides the visitor; null if unknown
 * @property {boolean} open whether the microphone is on.
 * @property {boolean} muted
 * @property {boolean} partnerMuted
 * @property {boolean} micInterrupted whether something else has taken the microphone.
 * @property {boolean} playBlocked
 * @property {boolean} soundStopped whether the levels and the ring stand still.
 * @property {string} quality
 * @property {string | null} notice
 * @property {Relay} relay
 * @property {boolean} relayWanted whether the visitor allows calls through a relay only.
 *
 * Whether the site has a relay that hides network addresses; `always`, it allows no other calls.
 * @typedef {'unknown' | 'none' | 'available' | 'always'} Relay
 */

import { Board } from './board.js';
import { inCall } from './phase.js';
import { banner, clock, isLost, text, userCount, words } from './words.js';

/** @typedef {'ask' | 'start' | 'mute' | 'next' | 'stop' | 'play'} Button */

/**
 * The buttons of each phase; the first is the main one.
 * @type {Record<import('./phase.js').Phase['name'], Button[]>}
 */
const BUTTONS = {
  blocked: [],
  welcome: ['ask'],
  asking: [],
  mic_failed: ['ask'],
  ready: ['start', 'mute'],
  searching: ['stop', 'mute'],
  refused: ['start', 'stop', 'mute'],
  connecting: ['next', 'stop', 'mute'],
  talking: ['next', 'stop', 'mute'],
  ended: ['next', 'stop'],
  stopped: ['start'],
};

/**
 * @template {Element} [T=HTMLElement]
 * @param {string} id
 * @returns {T}
 */
export function byId(id) {
  return /** @type {T} */ (/** @type {unknown} */ (document.getElementById(id)));
}

/**
 * Shows the texts of index.html in the chosen language. The page's state is shown by {@link View}.
 * @param {{ language: string, direction: 'ltr' | 'rtl' }} chosen
 */
export function showLanguage({ language, direction }) {
  const root = document.documentElement;
  root.lang = language;
  root.dir = direction;
  for (const element of /** @type {NodeListOf<HTMLElement>} */ (document.querySelectorAll('[data-text]'))) {
    element.textContent = text(/** @type {any} */ (element.dataset.text));
  }
  for (const element of /** @type {NodeListOf<HTMLElement>} */ (document.querySelectorAll('[data-label]'))) {
    element.setAttribute('aria-label', text(/** @type {any} */ (element.dataset.label)));
  }
  document.querySelector('meta[name=description]')?.setAttribute('content', text('page.description'));
}

export class View {
  #board = new Board(byId('board'));
  #announced = '';

  /** @param {Model} model */
  render(model) {
    const { phase } = model;
    document.body.dataset.phase = phase.name;
    const { headline, detail } = words(phase);
    setText('headline', headline);
    setIsolated('detail', detail);
    // During a call it is not asked for, and without the server it is out of date.
    setText('users', inCall(phase) || isLost(model.connection) ? '' : userCount(model.others));
    setText('quality', qualityLine(model));
    byId('clock').hidden = !hasClock(phase);
    this.#announce(`${headline}. ${detail.replace(ISOLATES, '')}`);
    show('banner', banner(model.connection, phase.name === 'talking'));
    show('notice', model.notice);
    document.title = phase.name === 'welcome' ? 'Switchboard' : `${headline} · Switchboard`;
    this.#renderEnds(model);
    this.#renderButtons(model);
    this.#renderRelay(model);
  }

  /** @param {Model} model */
  #renderRelay({ phase, relay, relayWanted }) {
    const box = /** @type {HTMLInputElement} */ (byId('relay-only'));
    box.checked = relay === 'always' || relayWanted;
    // Where there is no relay it can be switched off, so that calls are possible, but not on.
    box.disabled = relay === 'always' || (relay === 'none' && !relayWanted);
    const hint = text(`settings.relay_${relay}`);
    const isLater = inCall(phase) && relay === 'available';
    setText('relay-hint', isLater ? `${hint} ${text('settings.relay_next')}` : hint);
    const isEarly = ['welcome', 'ready', 'stopped'].includes(phase.name);
    const isHidden = relay === 'always' || (relay === 'available' && relayWanted);
    show('privacy', isEarly ? text(isHidden ? 'privacy.hidden' : 'privacy.visible') : null);
  }

  /**
   * The clock of the phase. Screen readers do not announce it.
   * @param {import('./phase.js').Phase} phase
   * @param {number} now
   */
  tick(phase, now) {
    if (!hasClock(phase)) return;
    const line = phase.name === 'searching' ? phase.line : null;
    setText('clock', clock(line?.name === 'held' ? (line.until ?? now) - now : now - phase.since));
  }

  /**
   * @param {number} nowMs
   * @param {{ you: number, partner: number }} levels
   */
  frame(nowMs, levels) {
    this.#board.frame(nowMs, levels);
  }

  /** @param {{ you: number, partner: number }} levels for screen readers. */
  levels({ you, partner }) {
    byId('you-level').setAttribute('aria-valuenow', String(Math.round(you * 100)));
    byId('partner-level').setAttribute('aria-valuenow', String(Math.round(partner * 100)));
  }

  /** @param {Model} model */
  #renderEnds({ phase, open, muted, micInterrupted, partnerMuted }) {
    const isInLine = phase.name !== 'searching' || phase.line.name === 'waiting';
    this.#board.set(isInLine ? phase.name : 'ready', { open, muted, partnerMuted });
    const you = muted ? 'you.muted' : micInterrupted ? 'you.interrupted' : 'you.on';
    setText('you-state', text(open ? you : 'you.off'));
    setText('partner-state', partnerState(phase, partnerMuted));
  }

  /** @param {Model} model */
  #renderButtons(model) {
    const { phase, muted } = model;
    const buttons = BUTTONS[phase.name];
    const focused = document.activeElement;
    for (const button of /** @type {Button[]} */ (['ask', 'start', 'mute', 'next', 'stop'])) {
      byId(button).hidden = !buttons.includes(button);
    }
    const resume = resumeKey(model);
    byId('play').hidden = resume === null;
    if (resume !== null) setText('play', text(resume));
    setText('start', text(phase.name === 'refused' ? 'button.ask_again' : 'button.start'));
    setText('ask', text(phase.name === 'mic_failed' ? 'button.ask_again' : 'button.ask'));
    setText('mute', text(muted ? 'button.unmute' : 'button.mute'));
    byId('mute').classList.toggle('on', muted);
    setText('next', text(phase.name === 'ended' ? 'button.find' : 'button.next'));
    // When the focused button disappears, the focus moves to another one. It never moves to a
    // button that ends something, or a second press of Enter would undo the first.
    if (focused instanceof HTMLElement && focused.classList.contains('key') && focused.hidden) {
      const next = buttons.find((button) => button === 'ask' || button === 'start');
      byId(next ?? 'headline').focus({ preventScroll: true });
    } else if (phase.name === 'ready' && focused === byId('headline')) {
      byId('start').focus({ preventScroll: true });
    }
  }

  /** @param {string} text announced to screen readers when it changes. */
  #announce(text) {
    if (text === this.#announced) return;
    this.#announced = text;
    setText('announcer', text);
  }
}

/**
 * The one button that undoes an interruption, by its text; null, there is none.
 * @param {Model} model
 */
function resumeKey({ phase, open, micInterrupted, playBlocked, soundStopped }) {
  if (playBlocked && phase.name === 'talking') return 'button.play';
  if (!open) return null;
  if (micInterrupted) return 'button.microphone';
  return soundStopped ? 'button.sound' : null;
}

/** @param {Model} model */
function qualityLine({ phase, playBlocked, quality }) {
  if (phase.name !== 'talking') return '';
  if (phase.silent) return text('quality.none');
  return playBlocked ? text('quality.not_played') : quality;
}

/**
 * Whether the clock has something to show: the time of the phase, or the time until a request that
 * was refused is repeated.
 * @param {import('./phase.js').Phase} phase
 * @returns {phase is Extract<import('./phase.js').Phase, { since: number }>}
 */
function hasClock(phase) {
  if (!('since' in phase)) return false;
  if (phase.name !== 'searching') return true;
  const { line } = phase;
  return line.name === 'waiting' || (line.name === 'held' && line.until !== undefined);
}

/**
 * @param {import('./phase.js').Phase} phase
 * @param {boolean} muted
 */
function partnerState(phase, muted) {
  switch (phase.name) {
    case 'searching':
      return text(phase.line.name === 'waiting' ? 'partner.searching' : 'partner.none');
    case 'connecting':
      return text('partner.connecting');
    case 'talking':
      if (phase.silent) return text('partner.silent');
      return text(muted ? 'partner.muted' : 'partner.talking');
    case 'ended':
      return text('partner.gone');
    default:
      return text('partner.none');
  }
}

/**
 * @param {string} id
 * @param {string} text
 */
function setText(id, text) {
  const element = byId(id);
  if (element.textContent !== text) element.textContent = text;
}

/** The characters that isolate the direction of a name (words.js). */
const ISOLATES = /[\u2068\u2069]/g;

/**
 * Shows a text; what is isolated in it becomes a bdi element.
 * @param {string} id
 * @param {string} text
 */
function setIsolated(id, text) {
  const element = byId(id);
  if (element.textContent === text.replace(ISOLATES, '')) return;
  const parts = text.split(ISOLATES).map((part, nth) => {
    if (nth % 2 === 0) return part;
    const name = document.createElement('bdi');
    name.textContent = part;
    return name;
  });
  element.replaceChildren(...parts);
}

/**
 * @param {string} id
 * @param {string | null} text
 */
export function show(id, text) {
  byId(id).hidden = text === null;
  setText(id, text ?? '');
}
