/** Without a microphone, permission or secure context the page explains what to do. */

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { Server } from './lib/server.js';
import { openBrowser } from './lib/engine.js';
import { Visitor } from './lib/visitor.js';

describe('a page without a microphone', { timeout: 120_000 }, () => {
  let server;

  before(async () => {
    server = await Server.start();
  });

  after(() => server?.down());

  async function withBrowser(options, visit) {
    const chromium = await openBrowser(options);
    try {
      await visit(chromium.browser);
    } finally {
      await chromium.close();
    }
  }

  test('explains a denied microphone, and continues when it is allowed later', () =>
    withBrowser({ microphone: false, flags: ['--use-fake-device-for-media-stream'] }, async (browser) => {
      const ann = await Visitor.arrive(browser, server.url, { permissions: [] });
      await ann.press('ask');
      await ann.reaches('mic_failed');
      await ann.reads('headline', /blocked|still off/);
      await ann.shoot('desktop-light-denied');
      await ann.page.context().grantPermissions(['microphone']);
      await ann.press('ask');
      await ann.reaches('ready');
    }));

  test('explains a missing microphone and offers another attempt', () =>
    withBrowser({ microphone: false, flags: ['--use-fake-ui-for-media-stream'] }, async (browser) => {
      const ann = await Visitor.arrive(browser, server.url, { permissions: ['microphone'] });
      await ann.press('ask');
      await ann.reaches('mic_failed');
      await ann.reads('headline', /no microphone found/);
      assert.equal(await ann.page.isVisible('#ask'), true);
    }));

  test('explains an insecure address and names a secure one', () =>
    withBrowser({ flags: ['--host-resolver-rules=MAP talk.example 127.0.0.1'] }, async (browser) => {
      const ann = await Visitor.arrive(browser, `http://talk.example:${server.port}/`);
      await ann.reaches('blocked');
      await ann.reads('detail', /https:.*localhost/);
    }));
});
