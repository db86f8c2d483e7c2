/**
 * Every text that the page shows about its state and about errors. Pure.
 *
 * @typedef {import('./phase.js').Phase} Phase
 * @typedef {{ headline: string, detail: string }} Words
 */

/** @type {Record<import('./phase.js').MicrophoneTrouble, Words>} */
const MICROPHONE = {
  denied: {
    headline: 'The microphone is blocked',
    detail:
      'This page may not use the microphone. Open the site settings next to the address, allow the microphone, and try again.',
  },
  dismissed: {
    headline: 'The microphone is still off',
    detail: 'The browser’s question was closed without an answer. Try again, and choose “Allow”.',
  },
  none: {
    headline: 'No microphone found',
    detail: 'Plug one in or switch your headset on, then try again. The page notices a new one automatically.',
  },
  busy: {
    headline: 'The microphone is busy',
    detail: 'Another program seems to be using it. Close that program, then try again.',
  },
  other: {
    headline: 'The microphone does not start',
    detail: 'Your browser gave no clear reason. Try again, or choose another microphone below.',
  },
};

/** @type {Record<import('./phase.js').EndReason, Words>} */
const ENDED = {
  left: { headline: 'Your partner hung up', detail: 'Someone else may be waiting right now.' },
  next: { headline: 'Your partner moved on', detail: 'Someone else may be waiting right now.' },
  disconnected: {
    headline: 'Your partner is gone',
    detail: 'Their connection ended unexpectedly.',
  },
  timeout: {
    headline: 'Your partner is gone',
    detail: 'Their connection was lost and did not come back.',
  },
  lost: {
    headline: 'The call was lost',
    detail: 'The sound stopped, and the connection to your partner could not be restored.',
  },
  unreachable: {
    headline: 'No way to this partner',
    detail: 'Your two networks could not reach each other. It often works with someone else.',
  },
  relay_refused: {
    headline: 'The relay refused the call',
    detail:
      'This site’s TURN server refused the password it was given (401), so no call can be relayed. The operator of this site has to set the same secret on both servers.',
  },
  relay_missing: {
    headline: 'No relay can be reached',
    detail:
      'You asked to hide your network address, which needs a relay, but no relay answers. Switch that off under “Devices and settings”, or try later.',
  },
};

/**
 * @param {Phase} phase
 * @returns {Words}
 */
export function words(phase) {
  switch (phase.name) {
    case 'blocked':
      return phase.why === 'insecure'
        ? {
            headline: 'This page needs a secure address',
            detail:
              'Browsers hand out the microphone only over https:// or on localhost. Open this page at such an address.',
          }
        : {
            headline: 'This browser cannot make calls',
            detail: 'It has no WebRTC. A recent Firefox, Chrome, Edge or Safari does.',
          };
    case 'welcome':
      return {
        headline: 'Talk with a stranger',
        detail: 'First, turn on your microphone. No one hears you until you press Start.',
      };
    case 'asking':
      return {
        headline: 'May we hear you?',
        detail: 'Your browser is asking for the microphone. Please choose “Allow”.',
      };
    case 'mic_failed':
      return MICROPHONE[phase.why];
    case 'ready':
      return {
        headline: 'Say something',
        detail: 'If the ring around your jack moves, you can be heard. Then press Start.',
      };
    case 'searching':
      return {
        headline: 'Looking for someone',
        detail:
          phase.after === undefined
            ? 'You are in line. This page connects you automatically.'
            : `${ENDED[phase.after].headline}. Looking for the next partner.`,
      };
    case 'connecting':
      return { headline: 'Putting you through', detail: 'Someone is there. One moment.' };
    case 'talking':
      return { headline: 'You are talking', detail: talking(phase) };
    case 'ended':
      return ENDED[phase.why];
  }
}

/** @param {Extract<Phase, { name: 'talking' }>} phase */
function talking({ signalling, silent }) {
  if (silent) return 'The sound has stopped. Trying to restore the connection to your partner.';
  switch (signalling) {
    case 'up':
      return 'The line is yours for as long as you both like.';
    case 'partner_away':
      return 'Your partner lost the connection to the switchboard. Your call continues.';
    case 'partner_gone':
      return 'Your partner is no longer on the switchboard. You can continue talking, or take the next call.';
    case 'own_gone':
      return 'The switchboard no longer has this call. You can continue talking, but if the sound stops, it cannot be restored.';
  }
}

/**
 * @typedef {object} Connection the state of the connection to the server.
 * @property {import('./client.js').Status} status
 * @property {number} [code] close code of the connection that was lost last.
 * @property {boolean} draining
 * @property {boolean} offline whether the browser reports that it is offline.
 */

/**
 * A banner about the signalling, or nothing.
 * @param {Connection} connection
 * @param {boolean} talking
 * @returns {string | null}
 */
export function banner({ status, code, draining, offline }, talking) {
  const callContinues = talking ? ' Your call continues.' : '';
  if (status === 'retrying' || (status === 'connecting' && code !== undefined)) {
    return `${loss(code, offline)}${callContinues} Trying again.`;
  }
  if (status === 'open' && draining) {
    return `The switchboard is about to restart.${callContinues} This page reconnects automatically.`;
  }
  return null;
}

/**
 * @param {number | undefined} code
 * @param {boolean} offline
 */
function loss(code, offline) {
  if (offline) return 'Your device is offline.';
  switch (code) {
    case 1001:
      return 'The switchboard received nothing from this page for too long.';
    case 1011:
      return 'The switchboard had an internal error.';
    case 1012:
      return 'The switchboard is restarting.';
    case 1013:
      return 'Your network was too slow for the switchboard.';
    case 4001:
      return 'This session was resumed from another connection.';
    case 1002:
    case 1007:
    case 1008:
    case 1009:
      return 'The switchboard did not understand this page.';
    default:
      return 'The switchboard cannot be reached.';
  }
}

/** @type {Record<string, string>} */
const REFUSALS = {
  bad_queue:
    'The name after # in the address cannot be used: it may have up to 64 letters, digits and _ . : -',
  rate_limited: 'That was too much at once; some of it was dropped. Please wait a moment.',
  draining: 'The switchboard is about to restart and makes no new calls. After the restart you will be in line again, at the end.',
  bad_json: 'The switchboard did not understand this page. Reloading it may help.',
  bad_message: 'The switchboard did not understand this page. Reloading it may help.',
  unknown_type: 'The switchboard does not know what this page asked for. Reloading it may help.',
};

/**
 * @param {string} code of the server's `error`.
 * @param {string} message
 */
export function refusal(code, message) {
  return REFUSALS[code] ?? `The switchboard refused something: ${message}`;
}

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
  if (others <= 0) return 'No one else is here';
  return others === 1 ? 'One other is here' : `${others} others are here`;
}

/**
 * @param {import('./vitals.js').Grade} grade
 * @param {import('./vitals.js').Reading} reading
 */
export function quality(grade, { rttMs, relayed }) {
  const name = { good: 'Clear line', fair: 'Fair line', poor: 'Poor line' }[grade];
  const way = relayed === null ? [] : [relayed ? 'through a relay' : 'direct'];
  const delay = rttMs === null ? [] : [`${Math.round(rttMs)} ms`];
  return [name, ...way, ...delay].join(' · ');
}
