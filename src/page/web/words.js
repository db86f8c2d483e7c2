/**
 * Every text that the page shows: chooses the language, and maps states and errors to the keys of
 * `languages/`. Pure but for the chosen language, which {@link useLanguage} loads once, before the
 * page is shown.
 *
 * @typedef {import('./phase.js').Phase} Phase
 * @typedef {keyof typeof ENGLISH} Key
 * @typedef {{ headline: string, detail: string }} Words
 */

import { TEXTS as ENGLISH } from './languages/en.js';

/** The languages that the page is written in, beside English. */
export const TRANSLATIONS = ['de', 'es', 'fr', 'pt'];
/** Languages that are written from right to left, should one of them be added. */
const RIGHT_TO_LEFT = new Set(['ar', 'fa', 'he', 'ur']);

/** Time for a language to load, so that a slow network does not keep the page from starting. */
const LANGUAGE_MS = 5_000;

/** @type {{ language: string, texts: Partial<Record<Key, string>> }} */
let chosen = { language: 'en', texts: ENGLISH };

/**
 * The first of a visitor's languages that the page is written in; regions are ignored.
 * @param {readonly string[]} languages as in `navigator.languages`.
 */
export function chooseLanguage(languages) {
  const bases = languages.map((tag) => tag.toLowerCase().split('-')[0]);
  return bases.find((base) => base === 'en' || TRANSLATIONS.includes(base)) ?? 'en';
}

/** @param {string} language */
const loadLanguage = (language) => import(`./languages/${language}.js`);

/**
 * Loads a language and uses it from now on; if it cannot be loaded in time, English.
 * @param {string} language 'en' or one of {@link TRANSLATIONS}.
 * @param {(language: string) => Promise<{ TEXTS: Partial<Record<Key, string>> }>} [load]
 * @param {number} [mostMs] time for loading.
 * @returns {Promise<{ language: string, direction: 'ltr' | 'rtl' }>} the language in use.
 */
export async function useLanguage(language, load = loadLanguage, mostMs = LANGUAGE_MS) {
  chosen = { language: 'en', texts: ENGLISH };
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let timer;
  try {
    const late = new Promise((_, reject) => (timer = setTimeout(reject, mostMs)));
    if (language !== 'en') chosen = { language, texts: (await Promise.race([load(language), late])).TEXTS };
  } catch {
    // English is in use already.
  }
  clearTimeout(timer);
  return {
    language: chosen.language,
    direction: RIGHT_TO_LEFT.has(chosen.language) ? 'rtl' : 'ltr',
  };
}

/**
 * @param {Key} key
 * @param {Record<string, string | number>} [values] of the placeholders in the text.
 * @returns {string}
 */
export function text(key, values = {}) {
  const template = chosen.texts[key] ?? ENGLISH[key];
  return template.replace(/\{(\w+)\}/g, (_, name) => String(values[name]));
}

/**
 * @param {string} prefix
 * @returns {Words}
 */
function both(prefix) {
  const key = (/** @type {string} */ part) => /** @type {Key} */ (`${prefix}.${part}`);
  return { headline: text(key('headline')), detail: text(key('detail')) };
}

/**
 * @param {Phase} phase
 * @returns {Words}
 */
export function words(phase) {
  switch (phase.name) {
    case 'blocked':
    case 'mic_failed':
    case 'ended':
      return both(`${phase.name}.${phase.why}`);
    case 'refused':
      return both(`no_line.${phase.why}`);
    case 'searching':
      return { headline: text(searchHeadline(phase.line)), detail: searching(phase) };
    case 'talking':
      return {
        headline: text('talking.headline'),
        detail: text(phase.silent ? 'talking.silent' : `talking.${phase.signalling}`),
      };
    case 'welcome':
    case 'asking':
    case 'ready':
    case 'connecting':
    case 'stopped':
      return both(phase.name);
  }
}

/**
 * @param {import('./phase.js').Line} line
 * @returns {Key}
 */
function searchHeadline({ name }) {
  switch (name) {
    case 'away':
      return 'searching.away.headline';
    case 'held':
      return 'searching.held.headline';
    case 'asking':
    case 'waiting':
      return 'searching.headline';
  }
}

/**
 * @param {Extract<Phase, { name: 'searching' }>} phase
 * @returns {string}
 */
function searching({ line, after }) {
  switch (line.name) {
    case 'away':
      return text('searching.away');
    case 'asking':
      return text('searching.asking');
    case 'held':
      return text(`searching.${line.why}`);
    case 'waiting':
      if (after !== undefined) return text('searching.again', { reason: text(`ended.${after}.headline`) });
      return line.queue === '' ? text('searching.detail') : text('searching.in_queue', { queue: isolated(line.queue) });
  }
}

/**
 * @typedef {object} Connection the state of the connection to the server.
 * @property {import('./client.js').Status} status
 * @property {number} [code] close code of the connection that was lost last.
 * @property {boolean} draining
 * @property {boolean} offline whether the browser reports that it is offline.
 * @property {import('./obstacle.js').Obstacle | null} obstacle why no connection can be opened, if known.
 */

/**
 * Whether the connection was lost, or could not be opened.
 * @param {Connection} connection
 */
export function isLost({ status, code }) {
  return status === 'retrying' || (status === 'connecting' && code !== undefined);
}

/**
 * A banner about the signalling, or nothing.
 * @param {Connection} connection
 * @param {boolean} talking
 * @returns {string | null}
 */
export function banner({ status, code, draining, offline, obstacle }, talking) {
  const sentences = (/** @type {Key} */ first, /** @type {Key} */ last) => {
    /** @type {Key[]} */
    const keys = talking ? [first, 'connection.continues', last] : [first, last];
    return keys.map((key) => text(key)).join(' ');
  };
  if (isLost({ status, code, draining, offline, obstacle })) {
    // Another attempt from the same address is refused as well.
    if (!offline && obstacle === 'origin') {
      return talking ? `${text('obstacle.origin')} ${text('connection.continues')}` : text('obstacle.origin');
    }
    const isKnown = !offline && obstacle !== null && obstacle !== 'unreachable';
    const first = isKnown ? /** @type {Key} */ (`obstacle.${obstacle}`) : loss(code, offline);
    return sentences(first, 'connection.retrying');
  }
  if (status === 'open' && draining) {
    return sentences('connection.draining', 'connection.reconnects');
  }
  return null;
}

/**
 * @param {number | undefined} code
 * @param {boolean} offline
 * @returns {Key}
 */
function loss(code, offline) {
  if (offline) return 'connection.offline';
  switch (code) {
    case 1001:
      return 'connection.silent';
    case 1011:
      return 'connection.internal';
    case 1012:
      return 'connection.restarting';
    case 1013:
      return 'connection.slow';
    case 4001:
      return 'connection.resumed';
    case 1002:
    case 1007:
    case 1008:
    case 1009:
      return 'connection.misunderstood';
    default:
      return 'connection.unreachable';
  }
}

/** @type {Record<string, Key>} */
const REFUSALS = {
  bad_queue: 'refused.bad_queue',
  rate_limited: 'refused.rate_limited',
  draining: 'refused.draining',
  bad_json: 'refused.misunderstood',
  bad_message: 'refused.misunderstood',
  unknown_type: 'refused.unknown_type',
};

/**
 * @param {string} code of the server's `error`.
 * @param {string} message
 */
export function refusal(code, message) {
  return text(REFUSALS[code] ?? 'refused.other', { message });
}

/**
 * Between the characters FIRST STRONG ISOLATE and POP DIRECTIONAL ISOLATE (Unicode UAX #9): the direction of
 * a name does not affect the text around it. As HTML's bdi element does.
 * @param {string} name
 */
const isolated = (name) => `\u2068${name}\u2069`;

/** @param {number} ms */
export function clock(ms) {
  const seconds = Math.max(0, Math.floor(ms / 1000));
  const two = (/** @type {number} */ n) => String(n).padStart(2, '0');
  const hours = Math.floor(seconds / 3600);
  const rest = `${two(Math.floor(seconds / 60) % 60)}:${two(seconds % 60)}`;
  return hours > 0 ? `${hours}:${rest}` : rest;
}

/** @param {number | null} others users besides the visitor; null if unknown. */
export function userCount(others) {
  if (others === null) return '';
  if (others <= 0) return text('users.none');
  return others === 1 ? text('users.one') : text('users.many', { count: others });
}

/** @param {number} ms in words, rounded. */
export function duration(ms) {
  const seconds = Math.round(ms / 1000);
  if (seconds < 5) return text('waiting.moments');
  if (seconds < 50) return text('waiting.seconds', { count: Math.ceil(seconds / 5) * 5 });
  if (seconds < 90) return text('waiting.minute');
  return text('waiting.minutes', { count: Math.round(seconds / 60) });
}

/** @param {string} name of a queue: a language code is shown as that language. */
export function queueName(name) {
  if (!/^[a-z]{2,3}$/.test(name)) return name;
  const names = new Intl.DisplayNames([chosen.language], { type: 'language', fallback: 'none' });
  return names.of(name) ?? name;
}

/**
 * @param {import('./vitals.js').Grade} grade
 * @param {import('./vitals.js').Reading} reading
 */
export function quality(grade, { arriving, rttMs, relayed }) {
  if (!arriving) return text('quality.none');
  const way = relayed === null ? [] : [text(relayed ? 'quality.relayed' : 'quality.direct')];
  const delay = rttMs === null ? [] : [text('quality.delay', { ms: Math.round(rttMs) })];
  return [text(`quality.${grade}`), ...way, ...delay].join(' · ');
}
