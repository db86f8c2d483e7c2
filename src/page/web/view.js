/**
 * Puts what is the case onto the page. It holds no state but what is on the page already, and
 * decides nothing.
 *
 * @typedef {object} Model
 * @property {import('./phase.js').Phase} phase
 * @property {import('./words.js').Line} line
 * @property {number | null} others people on the switchboard besides the visitor
 * @property {boolean} open whether the microphone is on.
 * @property {boolean} muted
 * @property {boolean} partnerMuted
 * @property {boolean} playBlocked
 * @property {string} quality
 * @property {string | null} notice
 * @property {boolean} relayAvailable
 */

import { Board } from './board.js';
import { banner, clock, crowd, words } from './words.js';

/** @typedef {'ask' | 'start' | 'mute' | 'next' | 'stop' | 'play'} Key */

/** Which keys there are in a phase; the first is the one that leads on. */
/** @type {Record<import('./phase.js').Phase['name'], Key[]>} */
const KEYS = {
  blocked: [],
  welcome: ['ask'],
  asking: [],
  mic_failed: ['ask'],
  ready: ['start', 'mute'],
  searching: ['stop', 'mute'],
  connecting: ['next', 'stop', 'mute'],
  talking: ['next', 'stop', 'mute'],
  parted: ['next', 'stop'],
};

/**
 * @template {Element} [T=HTMLElement]
 * @param {string} id
 * @returns {T}
 */
export function byId(id) {
  return /** @type {T} */ (/** @type {unknown} */ (document.getElementById(id)));
}

export class View {
  #board = new Board(byId('board'));
  #said = '';

  /** @param {Model} model */
  render(model) {
    const { phase } = model;
    document.body.dataset.phase = phase.name;
    const { headline, detail } = words(phase);
    setText('headline', headline);
    setText('detail', detail);
    setText('crowd', crowd(model.others));
    setText('quality', phase.name === 'talking' ? model.quality : '');
    byId('clock').hidden = !('since' in phase);
    this.#say(`${headline}. ${detail}`);
    show('banner', banner(model.line, phase.name === 'talking'));
    show('notice', model.notice);
    document.title = phase.name === 'welcome' ? 'Switchboard' : `${headline} · Switchboard`;
    this.#renderEnds(model);
    this.#renderKeys(model);
    setText(
      'relay-hint',
      model.relayAvailable
        ? 'Calls then take a detour through this site’s relay.'
        : 'Needs a relay; this site has told of none yet.',
    );
  }

  /**
   * The clock of the phase; it is not announced.
   * @param {import('./phase.js').Phase} phase
   * @param {number} now
   */
  tick(phase, now) {
    if ('since' in phase) setText('clock', clock(now - phase.since));
  }

  /**
   * @param {number} nowMs
   * @param {{ you: number, partner: number }} levels
   */
  frame(nowMs, levels) {
    this.#board.frame(nowMs, levels);
  }

  /** @param {{ you: number, partner: number }} levels for those who hear the page. */
  levels({ you, partner }) {
    byId('you-level').setAttribute('aria-valuenow', String(Math.round(you * 100)));
    byId('partner-level').setAttribute('aria-valuenow', String(Math.round(partner * 100)));
  }

  /** @param {Model} model */
  #renderEnds({ phase, open, muted, partnerMuted }) {
    this.#board.set(phase.name, { open, muted, partnerMuted });
    const you = muted ? 'muted' : 'microphone on';
    setText('you-state', open ? you : 'microphone off');
    setText('partner-state', partnerState(phase, partnerMuted));
  }

  /** @param {Model} model */
  #renderKeys({ phase, muted, playBlocked }) {
    const keys = KEYS[phase.name];
    const focused = document.activeElement;
    for (const key of /** @type {Key[]} */ (['ask', 'start', 'mute', 'next', 'stop'])) {
      byId(key).hidden = !keys.includes(key);
    }
    byId('play').hidden = !(playBlocked && phase.name === 'talking');
    setText('ask', phase.name === 'mic_failed' ? 'Try again' : 'Turn on the microphone');
    setText('mute', muted ? 'Unmute' : 'Mute');
    byId('mute').classList.toggle('on', muted);
    setText('next', phase.name === 'parted' ? 'Find somebody else' : 'Next');
    // Focus must not fall off the page together with the key that had it. A key that ends
    // something does not inherit it, or a second press of Enter would undo the first.
    if (focused instanceof HTMLElement && focused.classList.contains('key') && focused.hidden) {
      const heir = keys.find((key) => key === 'ask' || key === 'start');
      byId(heir ?? 'headline').focus({ preventScroll: true });
    } else if (phase.name === 'ready' && focused === byId('headline')) {
      byId('start').focus({ preventScroll: true });
    }
  }

  /** @param {string} text announced once, and not again until it changes. */
  #say(text) {
    if (text === this.#said) return;
    this.#said = text;
    setText('announcer', text);
  }
}

/**
 * @param {import('./phase.js').Phase} phase
 * @param {boolean} muted
 */
function partnerState(phase, muted) {
  switch (phase.name) {
    case 'searching':
      return 'being looked for';
    case 'connecting':
      return 'picking up';
    case 'talking':
      if (phase.silent) return 'no sound';
      return muted ? 'muted' : 'on the line';
    case 'parted':
      return 'gone';
    default:
      return 'nobody yet';
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

/**
 * @param {string} id
 * @param {string | null} text
 */
function show(id, text) {
  byId(id).hidden = text === null;
  setText(id, text ?? '');
}
