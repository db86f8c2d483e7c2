/** The lock that keeps the screen on, and what can notify. Runs without a browser. */

import assert from 'node:assert/strict';
import { afterEach, beforeEach, describe, test } from 'node:test';

describe('what keeps the attention of a visitor', () => {
  const original = Object.getOwnPropertyDescriptor(globalThis, 'navigator');
  let WakeLock;
  let canNotify;
  let Notifier;
  let requests;

  beforeEach(async () => {
    requests = [];
    globalThis.document = Object.assign(new EventTarget(), { hidden: false });
    globalThis.window = globalThis;
    const request = () => new Promise((resolve) => requests.push(resolve));
    Object.defineProperty(globalThis, 'navigator', { value: { wakeLock: { request } }, configurable: true });
    ({ WakeLock, Notifier, canNotify } = await import('../../src/page/web/attention.js'));
  });

  afterEach(() => {
    for (const name of ['document', 'window', 'Notification', 'navigator']) delete globalThis[name];
    if (original !== undefined) Object.defineProperty(globalThis, 'navigator', original);
  });

  const settled = () => new Promise((resolve) => setImmediate(resolve));

  /** A lock that was granted. */
  function lock() {
    const granted = { released: false, release: async () => (granted.released = true) };
    return granted;
  }

  test('requests one lock, though the page is shown meanwhile', async () => {
    const screen = new WakeLock();
    screen.set(true);
    document.dispatchEvent(new Event('visibilitychange'));
    assert.equal(requests.length, 1);
    requests[0](lock());
    await settled();
    assert.equal(requests.length, 1);
  });

  test('releases a lock that comes after the call', async () => {
    const screen = new WakeLock();
    screen.set(true);
    screen.set(false);
    const granted = lock();
    requests[0](granted);
    await settled();
    assert.equal(granted.released, true);
    screen.set(true);
    assert.equal(requests.length, 2);
  });

  test('can notify only where the constructor of notifications works', () => {
    assert.equal(canNotify(), false);
    globalThis.Notification = class {
      static permission = 'default';
    };
    assert.equal(canNotify(), true);
    globalThis.Notification = class {
      static permission = 'default';
      constructor() {
        throw new TypeError('Illegal constructor');
      }
    };
    assert.equal(canNotify(), false, 'Chrome on Android');
  });

  test('a notification that the browser refuses with an exception is left out', () => {
    let constructed = 0;
    globalThis.Notification = class {
      static permission = 'granted';
      constructor() {
        constructed += 1;
        throw new TypeError('Illegal constructor');
      }
    };
    document.hidden = true;
    const notifier = new Notifier();
    notifier.show('a partner', 'was found');
    notifier.clear();
    assert.equal(constructed, 1);
  });
});
