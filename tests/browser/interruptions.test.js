/** Interruptions of a call, and what the page does to be noticed. */

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { runServerAndBrowser } from './lib/running.js';
import { Visitor } from './lib/visitor.js';

describe('a call that is interrupted', { timeout: 240_000 }, () => {
  const running = runServerAndBrowser();

  /** A visitor whose browser is changed by `script` before the page runs. */
  async function arrive(t, script, options) {
    const visitor = await Visitor.arrive(running.browser, 'about:blank', options);
    t.after(() => visitor.leave());
    if (script !== undefined) await visitor.page.addInitScript(script);
    await visitor.page.goto(running.server.url);
    return visitor;
  }

  /** Two visitors in a call; the first is the initiator. */
  async function call(t, firstScript, secondScript, options) {
    const first = await arrive(t, firstScript, options);
    const second = await arrive(t, secondScript, options);
    await first.start();
    await first.reads('detail', /in line/);
    await second.start();
    await Promise.all([first, second].map((visitor) => visitor.reaches('talking')));
    return [first, second];
  }

  test('a video that the partner offers is refused, and the audio goes on', async (t) => {
    const offerVideo = () => {
      const { addTrack } = RTCPeerConnection.prototype;
      RTCPeerConnection.prototype.addTrack = function (...args) {
        const sender = addTrack.apply(this, args);
        this.addTransceiver(document.createElement('canvas').captureStream(5).getVideoTracks()[0]);
        this.addTransceiver('audio');
        return sender;
      };
    };
    const [, ben] = await call(t, offerVideo);
    await ben.hears();
    const lines = await ben.page.evaluate(() => window.observed.mediaLines());
    assert.deepEqual(lines.sort(), ['application', 'audio', 'audio refused', 'video refused']);
  });

  test('an answer that is lost without a word is sent again', async (t) => {
    const loseAnswer = () => {
      const { send } = WebSocket.prototype;
      WebSocket.prototype.send = function (text) {
        if (JSON.parse(text).type !== 'answer' || window.lost) return send.call(this, text);
        window.lost = true;
      };
    };
    const [ann, ben] = await call(t, undefined, loseAnswer);
    await Promise.all([ann.hears(), ben.hears()]);
    assert.equal(await ben.page.evaluate(() => window.lost), true);
  });

  test('an answer that the server does not pass on is sent again', async (t) => {
    const loseAnswer = () => {
      const { send } = WebSocket.prototype;
      WebSocket.prototype.send = function (text) {
        if (JSON.parse(text).type !== 'answer' || window.lost) return send.call(this, text);
        window.lost = true;
        const payload = { code: 'peer_busy', message: '', refused: 'answer' };
        const data = JSON.stringify({ type: 'error', payload });
        setTimeout(() => this.dispatchEvent(new MessageEvent('message', { data })));
      };
    };
    const [ann, ben] = await call(t, undefined, loseAnswer);
    await Promise.all([ann.hears(), ben.hears()]);
    assert.equal(await ben.page.evaluate(() => window.lost), true);
    assert.equal(await ben.page.isVisible('#notice'), false);
  });

  test('audio that something else has paused plays again, the second time by a button', async (t) => {
    const [ann] = await call(t);
    const pause = () => ann.page.evaluate(() => document.getElementById('voice').pause());
    const plays = () => ann.page.waitForFunction(() => !document.getElementById('voice').paused);
    await pause();
    await plays();
    await pause();
    await ann.page.waitForSelector('#play', { state: 'visible' });
    await ann.reads('quality', /stopped on this device/);
    await ann.shoot('state-paused');
    await ann.press('play');
    await plays();
    await ann.page.waitForSelector('#play', { state: 'hidden' });
  });

  test('a microphone that something else has taken is shown, and opened again by a button', async (t) => {
    const [ann, ben] = await call(t);
    await ann.page.evaluate(() => window.observed.track().dispatchEvent(new Event('mute')));
    await ann.reads('you-state', /interrupted/);
    await ben.reads('partner-state', /muted/);
    await ann.reads('play', /use my microphone again/i);
    await ann.press('play');
    await ann.reads('you-state', /microphone on/);
    await ben.reads('partner-state', /on the line/);
    await ann.page.waitForSelector('#play', { state: 'hidden' });
    await ben.hears();
    assert.equal(await ann.page.evaluate(() => window.observed.microphones()), 1);
  });

  test('a level meter that stands still gets a button, and works again', async (t) => {
    const ann = await arrive(t, () => {
      window.contexts = [];
      window.AudioContext = class extends AudioContext {
        constructor() {
          super();
          window.contexts.push(this);
        }
        resume() {
          return window.allowed ? super.resume() : Promise.reject(new DOMException('', 'NotAllowedError'));
        }
      };
    });
    await ann.checkMicrophone();
    await ann.page.evaluate(() => window.contexts[0].suspend());
    await ann.reads('play', /turn the sound on/i);
    await ann.page.waitForSelector('#play', { state: 'visible' });
    await ann.page.evaluate(() => (window.allowed = true));
    await ann.press('play');
    await ann.page.waitForSelector('#play', { state: 'hidden' });
    assert.equal(await ann.page.evaluate(() => window.contexts[0].state), 'running');
  });

  test('a level meter that fails does not keep the old microphone in the call', async (t) => {
    const [ann, ben] = await call(t, () => {
      window.AudioContext = class {
        constructor() {
          throw new DOMException('no more contexts', 'NotSupportedError');
        }
      };
    });
    await ann.page.click('summary');
    const devices = await ann.page.$$eval('#microphone option', (options) => options.map(({ value }) => value));
    await ann.page.selectOption('#microphone', devices.at(-1));
    await ann.page.waitForFunction((id) => window.observed.microphone() === id, devices.at(-1));
    await ben.hears();
  });

  test('the quality of a call without sound is not called clear', async (t) => {
    const [ann, ben] = await call(t);
    await ben.reads('quality', /clear line/);
    await ann.page.evaluate(() => window.observed.sender().replaceTrack(null));
    await ben.reads('quality', /no sound arrives/);
  });

  test('the screen stays on during a call, and the page is not left without a question', async (t) => {
    const lock = () => {
      window.locks = 0;
      navigator.wakeLock.request = async () => {
        window.locks += 1;
        return { released: false, release: async () => (window.locks -= 1) };
      };
    };
    const [ann, ben] = await call(t, lock);
    assert.equal(await ann.page.evaluate(() => window.locks), 1);
    const asked = [];
    for (const visitor of [ann, ben]) {
      visitor.page.on('dialog', async (dialog) => {
        asked.push(dialog.type());
        await dialog.dismiss();
      });
    }
    await ann.page.close({ runBeforeUnload: true });
    await ann.page.waitForTimeout(300);
    assert.deepEqual(asked, ['beforeunload']);
    await ann.press('stop');
    await ann.reaches('stopped');
    await ann.page.waitForFunction(() => window.locks === 0);
    await ben.reaches('ended');
    const closed = ben.page.waitForEvent('close');
    await ben.page.close({ runBeforeUnload: true });
    await closed;
    assert.deepEqual(asked, ['beforeunload']);
  });

  for (const ring of [true, false]) {
    test(`a partner that was found ${ring ? 'rings' : 'does not ring if that is off'}`, async (t) => {
      const count = () => {
        window.rings = 0;
        const { start } = OscillatorNode.prototype;
        OscillatorNode.prototype.start = function (...args) {
          window.rings += 1;
          return start.apply(this, args);
        };
      };
      const [ann] = await call(t, count, undefined, { settings: { ring } });
      assert.equal(await ann.page.evaluate(() => window.rings), ring ? 1 : 0);
    });
  }

  test('a partner that was found while the tab is hidden is notified once permission was given', async (t) => {
    const stub = () => {
      window.shown = [];
      window.asked = 0;
      window.Notification = class extends EventTarget {
        static permission = 'default';
        static async requestPermission() {
          window.asked += 1;
          return (window.Notification.permission = 'granted');
        }
        constructor(title) {
          super();
          // Without permission a browser shows nothing (Notifications API §3.1).
          if (window.Notification.permission === 'granted') window.shown.push(title);
        }
        close() {}
      };
    };
    const ann = await arrive(t, stub);
    const ben = await arrive(t);
    await ann.start();
    await ann.reads('detail', /in line/);
    assert.equal(await ann.page.evaluate(() => window.asked), 0, 'asked without an action');
    await ann.page.click('summary');
    await ann.page.check('#notify');
    await ann.page.waitForFunction(() => window.asked === 1);
    await ann.page.evaluate(() => Object.defineProperty(document, 'hidden', { value: true }));
    await ben.start();
    await ann.reaches('talking');
    assert.deepEqual(await ann.page.evaluate(() => window.shown), ['Someone is on the line']);
  });

  test('notifications that the visitor denies are switched off with a reason', async (t) => {
    const ann = await arrive(t, () => {
      window.Notification.requestPermission = async () => 'denied';
    });
    await ann.page.click('summary');
    await ann.page.click('#notify');
    await ann.reads('notice', /does not allow notifications/);
    assert.equal(await ann.page.isChecked('#notify'), false);
  });
});
