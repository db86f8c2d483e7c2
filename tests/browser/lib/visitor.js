/** A visitor of the page in a real browser: actions, visible texts, and call statistics. */

import { mkdirSync } from 'node:fs';
import path from 'node:path';

const TIMEOUT_MS = 20_000;

/** Folder of the screenshots; without it none are taken. */
const SHOTS = process.env.SWITCHBOARD_SHOTS;

/** Runs in the page before its scripts: records its calls and times the first audio. */
function observe() {
  const calls = [];
  let clickedAt = 0;
  window.RTCPeerConnection = class extends RTCPeerConnection {
    constructor(...args) {
      super(...args);
      calls.push(this);
    }
  };
  const inbound = async () => {
    const call = calls.at(-1);
    const report = call === undefined ? [] : [...(await call.getStats()).values()];
    return report.find(({ type, kind }) => type === 'inbound-rtp' && kind === 'audio');
  };
  document.addEventListener('click', async ({ target }) => {
    if (target.id !== 'start' && target.id !== 'next') return;
    const before = calls.length;
    clickedAt = performance.now();
    for (;;) {
      const stat = calls.length > before ? await inbound() : undefined;
      if (stat?.bytesReceived > 0 && stat.totalAudioEnergy > 0) break;
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    window.observed.firstAudioMs = performance.now() - clickedAt;
  }, true);
  const opened = [];
  const { mediaDevices } = navigator;
  const getUserMedia = mediaDevices?.getUserMedia.bind(mediaDevices);
  if (getUserMedia !== undefined) {
    mediaDevices.getUserMedia = async (constraints) => {
      const stream = await getUserMedia(constraints);
      opened.push(...stream.getTracks());
      return stream;
    };
  }
  window.observed = {
    microphones: () => opened.filter(({ readyState }) => readyState === 'live').length,
    firstAudioMs: null,
    measure: async () => {
      const stat = await inbound();
      return { bytes: stat?.bytesReceived ?? 0, energy: stat?.totalAudioEnergy ?? 0 };
    },
    microphone: () => calls.at(-1).getSenders()[0].track.getSettings().deviceId,
    sender: () => calls.at(-1).getSenders()[0],
    track: () => calls.at(-1).getSenders()[0].track,
    mediaLines: () =>
      [...calls.at(-1).localDescription.sdp.matchAll(/^m=(\w+) (\d+)/gm)].map(
        ([, kind, port]) => kind + (port === '0' ? ' refused' : ''),
      ),
    path: async () => {
      const report = await calls.at(-1).getStats();
      const transport = [...report.values()].find(({ type }) => type === 'transport');
      const pair = report.get(transport?.selectedCandidatePairId);
      return report.get(pair?.localCandidateId)?.candidateType;
    },
  };
}

/** Makes the page send all candidates before the description they belong to. */
function sendCandidatesFirst() {
  const { send } = WebSocket.prototype;
  let held = null;
  WebSocket.prototype.send = function (text) {
    const { type, payload } = JSON.parse(text);
    if (type === 'offer' || type === 'answer') {
      held = text;
      return;
    }
    send.call(this, text);
    if (type === 'ice_candidate' && payload === null && held !== null) send.call(this, held);
  };
}

export class Visitor {
  /** Errors on the page's console. Tests expect none. */
  errors = [];

  constructor(page) {
    this.page = page;
  }

  /**
   * @param {import('playwright-core').Browser} browser
   * @param {string | null} url null to open nothing yet.
   * @param {import('playwright-core').BrowserContextOptions
   *   & { settings?: object, candidatesFirst?: boolean, prepare?: () => void }} [options] `prepare` runs in the page
   *   before its scripts.
   */
  static async arrive(browser, url, { settings, candidatesFirst = false, prepare, ...options } = {}) {
    const context = await browser.newContext(options);
    const page = await context.newPage();
    const visitor = new Visitor(page);
    page.setDefaultTimeout(TIMEOUT_MS);
    page.on('pageerror', (error) => visitor.errors.push(String(error)));
    page.on('console', (message) => {
      if (message.type() === 'error') visitor.errors.push(message.text());
    });
    await page.addInitScript(observe);
    if (candidatesFirst) await page.addInitScript(sendCandidatesFirst);
    if (settings !== undefined) {
      await page.addInitScript((kept) => localStorage.setItem('switchboard', kept), JSON.stringify(settings));
    }
    if (prepare !== undefined) await page.addInitScript(prepare);
    if (url !== null) await page.goto(url);
    return visitor;
  }

  press(button) {
    return this.page.click(`#${button}`);
  }

  /** Waits for a phase of phase.js. */
  async reaches(phase, timeout = TIMEOUT_MS) {
    try {
      await this.page.waitForFunction((name) => document.body.dataset.phase === name, phase, { timeout });
    } catch {
      const present = await this.page.evaluate(() => document.body.innerText).catch(String);
      throw new Error(`did not reach the phase ${phase}; the page shows:\n${present}`);
    }
  }

  /** Waits until the text of an element matches. */
  async reads(id, words, timeout = TIMEOUT_MS) {
    try {
      await this.page.waitForFunction(
        ({ id, source }) => new RegExp(source, 'i').test(document.getElementById(id).textContent),
        { id, source: words.source },
        { timeout },
      );
    } catch {
      throw new Error(`#${id} does not read ${words} but: ${await this.text(id).catch(String)}`);
    }
  }

  text(id) {
    return this.page.textContent(`#${id}`);
  }

  /** Opens the microphone, so that Start can be pressed. */
  async checkMicrophone() {
    await this.press('ask');
    await this.reaches('ready');
  }

  async start() {
    await this.checkMicrophone();
    await this.press('start');
  }

  /** The browser refuses to play until a click. */
  blockAutoplay() {
    return this.page.evaluate(() => {
      // Such a browser does not play an element on its own either.
      document.getElementById('voice').autoplay = false;
      const { play } = HTMLMediaElement.prototype;
      HTMLMediaElement.prototype.play = function () {
        HTMLMediaElement.prototype.play = play;
        return Promise.reject(new DOMException('a click first', 'NotAllowedError'));
      };
    });
  }

  measure() {
    return this.page.evaluate(() => window.observed.measure());
  }

  path() {
    return this.page.evaluate(() => window.observed.path());
  }

  /** Waits until audio was received that is more than comfort noise. */
  async hears() {
    const { bytes, energy } = await this.measure();
    await this.page.waitForFunction(
      async (before) => {
        const now = await window.observed.measure();
        return now.bytes > before.bytes + 1_000 && now.energy > before.energy;
      },
      { bytes, energy },
      { timeout: TIMEOUT_MS, polling: 200 },
    );
  }

  firstAudioMs() {
    return this.page
      .waitForFunction(() => window.observed.firstAudioMs, null, { timeout: TIMEOUT_MS })
      .then((handle) => handle.jsonValue());
  }

  /** Takes a screenshot, if a folder for them was named. */
  async shoot(name) {
    if (!SHOTS) return;
    mkdirSync(SHOTS, { recursive: true });
    await this.page.screenshot({ path: path.join(SHOTS, `${name}.png`), animations: 'disabled' });
  }

  leave() {
    return this.page.context().close();
  }
}

/** Two visitors in one call. */
export async function talking(browser, url, options) {
  const pair = await Promise.all([0, 1].map(() => Visitor.arrive(browser, url, options)));
  await Promise.all(pair.map((visitor) => visitor.start()));
  await Promise.all(pair.map((visitor) => visitor.reaches('talking')));
  return pair;
}
