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
      'Your browser was told not to let this page hear you. Open the site settings beside the address, allow the microphone, and try again.',
  },
  dismissed: {
    headline: 'The microphone is still off',
    detail: 'The question was closed without an answer. Try again, and choose “Allow”.',
  },
  none: {
    headline: 'No microphone found',
    detail: 'Plug one in or switch your headset on, then try again. The page will notice a new one by itself.',
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
    detail: 'Their connection ended without a goodbye.',
  },
  timeout: {
    headline: 'Your partner is gone',
    detail: 'Their connection was lost and did not come back.',
  },
  lost: {
    headline: 'The call was lost',
    detail: 'The sound stopped, and no new way to your partner could be found.',
  },
  unreachable: {
    headline: 'No way to this partner',
    detail: 'Your two networks could not reach each other. It often works with someone else.',
  },
  relay_refused: {
    headline: 'The relay turned us away',
    detail:
      'This site’s TURN server refused the password it was given (401), so no call can be relayed. The operator of this site has to set the same secret on both servers.',
  },
  relay_missing: {
    headline: 'No relay to be reached',
    detail:
      'You asked to hide your network address, which needs a relay, and none answers. Switch that off under “Devices and settings”, or try later.',
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
              'Browsers hand out the microphone only over https:// or on localhost. Open this page by such an address.',
          }
        : {
            headline: 'This browser cannot make calls',
            detail: 'It has no WebRTC. A recent Firefox, Chrome, Edge or Safari does.',
          };
    case 'welcome':
      return {
        headline: 'Talk with a stranger',
        detail: 'First a look at your microphone. No one hears you until you press Start.',
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
            ? 'You are in line. This page rings you through by itself.'
            : `${ENDED[phase.after].headline}. The next one is being looked for.`,
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
  if (silent) return 'The sound has stopped. A new way to your partner is being looked for.';
  switch (signalling) {
    case 'up':
      return 'The line is yours for as long as you both like.';
    case 'partner_away':
      return 'Your partner lost touch with the switchboard, but you still hear each other.';
    case 'partner_gone':
      return 'Your partner is no longer on the switchboard. You can go on talking, or take the next call.';
    case 'own_gone':
      return 'The switchboard forgot this call: you are talking without it. If the sound breaks off, it cannot be brought back.';
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
  const callGoesOn = talking ? ' Your call goes on.' : '';
  if (status === 'retrying' || (status === 'connecting' && code !== undefined)) {
    return `${loss(code, offline)}${callGoesOn} Trying again by itself.`;
  }
  if (status === 'open' && draining) {
    return `The switchboard is about to restart.${callGoesOn} This page comes back by itself.`;
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
      return 'The switchboard did not hear from this page for too long.';
    case 1011:
      return 'The switchboard ran into a fault of its own.';
    case 1012:
      return 'The switchboard is restarting.';
    case 1013:
      return 'Your network was too slow for the switchboard.';
    case 4001:
      return 'This session was taken up in another place.';
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
  rate_limited: 'That was too much at once; some of it was dropped. Wait a moment.',
  draining: 'The switchboard is about to restart and makes no new calls. Your request is kept, your place in line is not.',
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
