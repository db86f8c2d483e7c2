/** The microphone while the browser has not yet answered a request for it. Runs without a browser. */

import assert from 'node:assert/strict';
import { afterEach, beforeEach, describe, test } from 'node:test';
import { Microphone } from '../../src/page/web/microphone.js';

class Track extends EventTarget {
  enabled = true;
  muted = false;
  live = true;

  stop() {
    this.live = false;
  }
}

describe('a microphone', () => {
  /** @type {PropertyDescriptor | undefined} */
  let original;
  let requests;
  let microphone;

  beforeEach(() => {
    requests = [];
    original = Object.getOwnPropertyDescriptor(globalThis, 'navigator');
    const mediaDevices = new EventTarget();
    mediaDevices.getUserMedia = () => new Promise((allow, refuse) => requests.push({ allow, refuse }));
    Object.defineProperty(globalThis, 'navigator', { value: { mediaDevices }, configurable: true });
    microphone = new Microphone();
  });

  afterEach(() => {
    delete globalThis.navigator;
    if (original !== undefined) Object.defineProperty(globalThis, 'navigator', original);
  });

  /** Answers the nth request; returns its track. */
  function allow(nth) {
    const track = new Track();
    requests[nth].allow({ getTracks: () => [track], getAudioTracks: () => [track] });
    return track;
  }

  test('stays off when it was closed before the browser allowed it', async () => {
    const opened = microphone.open('a');
    microphone.close();
    const track = allow(0);
    assert.equal(await opened, false);
    assert.deepEqual([track.live, microphone.stream], [false, null]);
  });

  test('reports no failure when it was closed before the browser refused it', async () => {
    for (const name of ['NotAllowedError', 'NotFoundError']) {
      const opened = microphone.open('a');
      microphone.close();
      requests.at(-1).refuse(new DOMException('no', name));
      assert.equal(await opened, false);
    }
    assert.equal(requests.length, 2, 'no other device is requested');
  });

  test('is that of the last request, in whatever order the browser answers', async () => {
    const [first, second] = [microphone.open('a'), microphone.open('b')];
    const [b, a] = [allow(1), allow(0)];
    assert.deepEqual([await first, await second], [false, true]);
    assert.deepEqual([a.live, b.live, microphone.track], [false, true, b]);
  });

  test('is open after one request, and a failure of the next leaves it so', async () => {
    const opened = microphone.open();
    const track = allow(0);
    assert.equal(await opened, true);
    const again = microphone.open();
    requests[1].refuse(new DOMException('no', 'NotReadableError'));
    await assert.rejects(again, { name: 'NotReadableError' });
    assert.deepEqual([track.live, microphone.track], [true, track]);
  });
});
