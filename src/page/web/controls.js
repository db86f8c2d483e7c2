/**
 * The devices and settings panel, and keyboard shortcuts: every control except the large buttons.
 */

import { devices } from './microphone.js';
import { Speaker } from './speaker.js';
import { byId } from './view.js';
import { text } from './words.js';

/**
 * Shortcut keys and the buttons that each presses: the first one that is visible.
 * @type {Record<string, string[]>}
 */
const SHORTCUTS = { m: ['mute'], n: ['start', 'next'], s: ['stop'] };

/**
 * @param {'microphone' | 'speaker'} id
 * @param {MediaDeviceInfo[]} found
 * @param {string} chosen
 */
function fill(id, found, chosen) {
  const select = /** @type {HTMLSelectElement} */ (byId(id));
  const options = found.map(({ deviceId, label }) => new Option(label, deviceId));
  if (options.length === 0) options.push(new Option(text('settings.system_device'), ''));
  select.replaceChildren(...options);
  select.value = chosen;
  if (select.selectedIndex < 0) select.selectedIndex = 0;
  select.disabled = found.length === 0;
}

/**
 * @param {() => { microphone: string, speaker: string }} chosen called after the devices are
 *   known, so that a choice made in the meantime counts.
 */
export async function listDevices(chosen) {
  byId('speaker-field').hidden = !Speaker.selectable;
  const [inputs, outputs] = await Promise.all([devices('audioinput'), devices('audiooutput')]);
  const { microphone, speaker } = chosen();
  fill('microphone', inputs, microphone);
  fill('speaker', outputs, speaker);
}

/**
 * @param {import('./settings.js').Settings} settings updated in place.
 * @param {(name: keyof import('./settings.js').Settings) => void} changed
 */
export function bindSettings(settings, changed) {
  for (const [id, name] of /** @type {[string, 'onward' | 'relayOnly' | 'ring' | 'notify' | 'shortcuts'][]} */ ([
    ['onward', 'onward'],
    ['relay-only', 'relayOnly'],
    ['ring', 'ring'],
    ['notify', 'notify'],
    ['shortcuts', 'shortcuts'],
  ])) {
    const box = /** @type {HTMLInputElement} */ (byId(id));
    box.checked = settings[name];
    box.addEventListener('change', () => {
      settings[name] = box.checked;
      changed(name);
    });
  }
  for (const name of /** @type {['microphone', 'speaker']} */ (['microphone', 'speaker'])) {
    const select = /** @type {HTMLSelectElement} */ (byId(name));
    select.addEventListener('change', () => {
      settings[name] = select.value;
      changed(name);
    });
  }
}

/** @param {import('./settings.js').Settings} settings */
export function bindShortcuts(settings) {
  document.addEventListener('keydown', (event) => {
    const { key, repeat, ctrlKey, altKey, metaKey, target } = event;
    if (!settings.shortcuts || repeat || ctrlKey || altKey || metaKey) return;
    // In a device list, a letter key selects an entry.
    if (target instanceof HTMLSelectElement || target instanceof HTMLInputElement) return;
    const there = SHORTCUTS[key.toLowerCase()]?.map((id) => byId(id)).find(({ hidden }) => !hidden);
    there?.click();
  });
}
