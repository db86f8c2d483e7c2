/**
 * Ways through the page that pass each of its states. A journey is an async generator: it brings a
 * visitor into a state, yields the name of the state and the visitor, and goes on when the test
 * has looked at it.
 *
 * @typedef {object} Surroundings
 * @property {import('playwright-core').Browser} browser Chromium, with a fake microphone
 * @property {import('./server.js').Server} server
 * @property {import('playwright-core').BrowserContextOptions} options of the visitor's context
 * @typedef {AsyncGenerator<[string, Visitor]>} Journey
 */

import { ROOM, ScriptedServer } from './scripted.js';
import { Visitor } from './visitor.js';

/** Names of getUserMedia's errors (W3C mediacapture-main §10.6), with messages of Chromium, by what the page says. */
const MICROPHONE_ERRORS = {
  denied: ['NotAllowedError', 'Permission denied'],
  dismissed: ['NotAllowedError', 'Permission dismissed'],
  none: ['NotFoundError', 'Requested device not found'],
  busy: ['NotReadableError', 'Could not start audio source'],
  other: ['TypeError', 'unknown'],
};
const ERROR_CODES = ['bad_queue', 'rate_limited', 'draining', 'too_many_matches', 'bad_message'];
const CLOSE_CODES = [1001, 1008, 1011, 1012, 1013, 4001];
/** Answers to OPTIONS /ws, by what is in the way. */
const OBSTACLES = {
  full: [503, 'too many connections'],
  address: [429, 'too many connections from this address'],
  draining: [503, 'the server is shutting down'],
  origin: [403, 'this origin is not allowed'],
};
const LEAVE_REASONS = ['left', 'next', 'disconnected', 'timeout'];

/** Two real visitors: from the first sight of the page through a call. @param {Surroundings} surroundings @returns {Journey} */
async function* call({ browser, server, options }) {
  const ann = await Visitor.arrive(browser, server.url, options);
  const ben = await Visitor.arrive(browser, server.url);
  yield ['welcome', ann];
  await ann.checkMicrophone();
  yield ['ready', ann];
  await ann.press('start');
  await ann.reaches('searching');
  yield ['searching', ann];
  await ben.start();
  await ann.reaches('talking');
  await ann.page.waitForFunction(() => document.getElementById('quality').textContent !== '');
  yield ['talking', ann];
  await ben.press('mute');
  await ann.press('mute');
  await ann.page.waitForFunction(() => document.getElementById('mute').ariaPressed !== 'false');
  await ann.page.click('summary');
  yield ['settings', ann];
  await ann.page.click('summary');
  await ben.press('stop');
  await ann.reaches('ended');
  yield ['ended', ann];
  await Promise.all([ann, ben].map((visitor) => visitor.leave()));
}

/** Playing is blocked until a click. @param {Surroundings} surroundings @returns {Journey} */
async function* silence({ browser, server, options }) {
  const [ann, ben] = [await Visitor.arrive(browser, server.url, options), await Visitor.arrive(browser, server.url)];
  await ann.blockAutoplay();
  await Promise.all([ann, ben].map((visitor) => visitor.start()));
  await ann.reaches('talking');
  await ann.page.waitForSelector('#play');
  yield ['play', ann];
  await Promise.all([ann, ben].map((visitor) => visitor.leave()));
}

/** Pages that cannot make a call. @param {Surroundings} surroundings @returns {Journey} */
async function* blocked({ browser, server, options }) {
  const insecure = await Visitor.arrive(browser, server.url.replace('127.0.0.1', 'talk.example'), options);
  await insecure.reaches('blocked');
  yield ['insecure', insecure];
  await insecure.leave();
  const old = await Visitor.arrive(browser, server.url, { ...options, prepare: () => delete window.RTCPeerConnection });
  await old.reaches('blocked');
  yield ['no-webrtc', old];
  await old.leave();
  const scriptless = await Visitor.arrive(browser, server.url, { ...options, javaScriptEnabled: false });
  yield ['no-javascript', scriptless];
  await scriptless.leave();
}

/** Asking for the microphone, and each answer but yes. @param {Surroundings} surroundings @returns {Journey} */
async function* microphone({ browser, server, options }) {
  const ann = await Visitor.arrive(browser, server.url, options);
  await ann.page.evaluate(() => {
    navigator.mediaDevices.getUserMedia = () => new Promise((_, reject) => (window.refuseMicrophone = reject));
  });
  for (const [why, error] of Object.entries(MICROPHONE_ERRORS)) {
    await ann.press('ask');
    await ann.reaches('asking');
    if (why === 'denied') yield ['asking', ann];
    await ann.page.evaluate(([name, message]) => window.refuseMicrophone(new DOMException(message, name)), error);
    await ann.reaches('mic_failed');
    yield [`microphone-${why}`, ann];
  }
  await ann.leave();
}

/** A visitor in line, answered by a scripted server. @param {Surroundings} surroundings */
async function inLine({ browser, server, options }) {
  const ann = await Visitor.arrive(browser, null, options);
  const scripted = await ScriptedServer.of(ann.page);
  await ann.page.goto(server.url);
  await ann.start();
  await ann.page.waitForSelector('#clock:not([hidden])');
  return { ann, scripted };
}

/** A visitor whom the server tells a long wait. @param {Surroundings} surroundings @returns {Journey} */
async function* waiting(surroundings) {
  const { ann, scripted } = await inLine(surroundings);
  await ann.press('stop');
  await ann.page.waitForSelector('#start');
  scripted.answer.payload.expected_wait_ms = 240_000;
  await ann.press('start');
  await ann.page.waitForSelector('#alone');
  yield ['waiting-long', ann];
  await ann.leave();
}

/** Each way in which a call ends, before there was any sound. @param {Surroundings} surroundings @returns {Journey} */
async function* ends(surroundings) {
  const { ann, scripted } = await inLine(surroundings);
  scripted.match();
  await ann.reaches('connecting');
  yield ['connecting', ann];
  for (const reason of LEAVE_REASONS) {
    scripted.send('peer_left', { room_id: ROOM, reason });
    await ann.reaches('ended');
    yield [`ended-${reason}`, ann];
    await ann.press('next');
    await ann.page.waitForSelector('#clock:not([hidden])');
    scripted.match();
    await ann.reaches('connecting');
  }
  await ann.leave();
}

/** What the page says, without its clock. @param {Visitor} visitor */
const said = ({ page }) =>
  page.evaluate(() => ['headline', 'detail', 'banner', 'notice'].map((id) => document.getElementById(id).textContent).join());

/** Carries out `act`, and waits until the page says something else. */
async function answers(visitor, act) {
  const before = await said(visitor);
  await act();
  for (let nth = 0; (await said(visitor)) === before; nth += 1) {
    if (nth === 100) throw new Error(`the page still says: ${before}`);
    await visitor.page.waitForTimeout(50);
  }
}

/** Each refusal of a request. @param {Surroundings} surroundings @returns {Journey} */
async function* refusals(surroundings) {
  for (const code of ERROR_CODES) {
    const { ann, scripted } = await inLine(surroundings);
    const before = [await ann.text('headline')];
    await ann.press('stop');
    await ann.page.waitForSelector('#start');
    before.push(await ann.text('headline'));
    if (code === ERROR_CODES[0]) yield ['stopped', ann];
    scripted.answer = { type: 'error', payload: { code, message: 'a reason', refused: 'find_match', retry_after_ms: 60_000 } };
    await ann.press('start');
    await ann.page.waitForFunction((before) => !before.includes(document.getElementById('headline').textContent), before);
    yield [`refused-${code}`, ann];
    await ann.leave();
  }
}

/** Each loss of the connection, and each reason why no other can be opened. @param {Surroundings} surroundings @returns {Journey} */
async function* losses(surroundings) {
  for (const code of CLOSE_CODES) {
    const { ann, scripted } = await inLine(surroundings);
    await ann.page.routeWebSocket(/\/ws$/, () => {});
    await answers(ann, () => scripted.close(code));
    yield [`closed-${code}`, ann];
    await ann.leave();
  }
  for (const [why, [status, body]] of Object.entries(OBSTACLES)) {
    const { browser, server, options } = surroundings;
    const ann = await Visitor.arrive(browser, null, { ...options, prepare: refuseUpgrades });
    await ann.page.route(/\/health$/, (route) => route.fulfill({ status: 200, body: '{}' }));
    await ann.page.route(/\/ws$/, (route) => route.fulfill({ status, body }));
    await ann.page.goto(server.url);
    const asked = ann.page.waitForResponse(/\/ws$/);
    await ann.start();
    await asked;
    await ann.page.waitForSelector('#banner:not([hidden])');
    yield [`obstacle-${why}`, ann];
    await ann.leave();
  }
}

/** Makes every WebSocket fail before it opens. Runs in the page. */
function refuseUpgrades() {
  window.WebSocket = class extends EventTarget {
    static OPEN = 1;
    readyState = 3;
    constructor() {
      super();
      setTimeout(() => this.dispatchEvent(new CloseEvent('close', { code: 1006 })), 20);
    }
    close() {}
  };
}

/** All journeys by name. */
export const JOURNEYS = { call, silence, blocked, microphone, waiting, ends, refusals, losses };
