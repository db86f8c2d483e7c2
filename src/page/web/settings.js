/**
 * The visitor's settings, stored in this browser only.
 *
 * @typedef {object} Settings
 * @property {boolean} onward search for the next partner automatically.
 * @property {boolean} relayOnly hide this machine's addresses from partners.
 * @property {boolean} ring play a sound when a partner was found.
 * @property {boolean} notify show a notification when a partner was found and the tab is hidden.
 * @property {boolean} shortcuts whether single letters are shortcuts (WCAG 2.1.4).
 * @property {string} microphone a device id, or ''.
 * @property {string} speaker a device id, or ''.
 */

const KEY = 'switchboard';

/** @type {Settings} */
const DEFAULTS = {
  onward: false,
  relayOnly: false,
  ring: true,
  notify: false,
  shortcuts: true,
  microphone: '',
  speaker: '',
};

/** @returns {Settings} */
export function load() {
  try {
    return { ...DEFAULTS, ...JSON.parse(localStorage.getItem(KEY) ?? '{}') };
  } catch {
    // Storage may be forbidden or hold invalid data: use the defaults.
    return { ...DEFAULTS };
  }
}

/** @param {Settings} settings */
export function save(settings) {
  try {
    localStorage.setItem(KEY, JSON.stringify(settings));
  } catch {
    // Storage is forbidden: the settings last as long as the page.
  }
}
