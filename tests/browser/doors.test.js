/** No microphone, no permission, no secure address: an explanation, and a way on. */

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { Server } from './lib/server.js';
import { Visitor, openBrowser } from './lib/visitor.js';

describe('a page that cannot hear its visitor', { timeout: 120_000 }, () => {
  let server;

  before(async () => {
    server = await Server.start();
  });

  after(() => server?.down());

  async function within(options, visit) {
    const chromium = await openBrowser(options);
    try {
      await visit(chromium.browser);
    } finally {
      await chromium.close();
    }
  }

  test('microphone denied: why, and what to do; allowed later, it goes on', () =>
    within({ microphone: false, flags: ['--use-fake-device-for-media-stream'] }, async (browser) => {
      const ann = await Visitor.arrive(browser, server.url, { permissions: [] });
      await ann.press('ask');
      await ann.reaches('mic_failed');
      await ann.reads('headline', /blocked|still off/);
      await ann.shoot('desktop-light-denied');
      await ann.page.context().grantPermissions(['microphone']);
      await ann.press('ask');
      await ann.reaches('ready');
    }));

  test('no microphone: why, and one may try again', () =>
    within({ microphone: false, flags: ['--use-fake-ui-for-media-stream'] }, async (browser) => {
      const ann = await Visitor.arrive(browser, server.url, { permissions: ['microphone'] });
      await ann.press('ask');
      await ann.reaches('mic_failed');
      await ann.reads('headline', /no microphone found/);
      assert.equal(await ann.page.isVisible('#ask'), true);
    }));

  test('an insecure address: why, and what address would do', () =>
    within({ flags: ['--host-resolver-rules=MAP talk.example 127.0.0.1'] }, async (browser) => {
      const ann = await Visitor.arrive(browser, `http://talk.example:${server.port}/`);
      await ann.reaches('blocked');
      await ann.reads('detail', /https:.*localhost/);
    }));
});
