/** The page by a host name over TLS, through the proxies, in real Chromium. */

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { Server } from '../browser/lib/server.js';
import { openBrowser } from '../browser/lib/engine.js';
import { talking } from '../browser/lib/visitor.js';
import { Front, KINDS, get } from './lib/front.js';

/** The changes for a path prefix that the comments of both files describe. */
const PREFIX = {
  HAProxy: [
    ['    #http-request redirect location /talk/', '    http-request redirect location /talk/'],
    ['    #http-request replace-path', '    http-request replace-path'],
  ],
  nginx: [
    ['        location = /metrics { return 404; }\n', '        location = /talk { return 301 /talk/; }\n        location = /talk/metrics { return 404; }\n'],
    ['        location / {\n            proxy_pass http://switchboard;\n', '        location /talk/ {\n            proxy_pass http://switchboard/;\n'],
  ],
};

describe('the page over TLS', { timeout: 180_000 }, () => {
  let server;
  let chromium;

  before(async () => {
    server = await Server.start();
    // localhost is a secure context even without TLS; other names are not.
    chromium = await openBrowser({ flags: ['--host-resolver-rules=MAP switchboard.test 127.0.0.1'] });
  });

  after(async () => {
    await chromium?.close();
    await server?.down();
  });

  test('without TLS the context is not secure', async () => {
    const page = await chromium.browser.newPage();
    await page.goto(`http://switchboard.test:${server.port}/`);
    assert.equal(await page.evaluate(() => window.isSecureContext), false);
    await page.close();
  });

  for (const kind of KINDS) {
    test(`the page works under a path prefix of ${kind.name}`, async (t) => {
      const front = await Front.start(kind, [server.port, server.port], { also: PREFIX[kind.name] });
      t.after(() => front.stop());
      const url = `https://switchboard.test:${front.port}/talk/`;
      const pair = await talking(chromium.browser, url, { ignoreHTTPSErrors: true, locale: 'de-DE' });
      await Promise.all(pair.map((visitor) => visitor.hears()));
      assert.deepEqual(pair.flatMap(({ errors }) => errors), []);
      const { page } = pair[0];
      const urls = await page.evaluate(() => performance.getEntriesByType('resource').map(({ name }) => name));
      assert.ok(urls.some((loaded) => loaded.endsWith('/talk/app.js')), urls.join(' '));
      assert.deepEqual(urls.filter((loaded) => !loaded.startsWith(url)), []);
      assert.equal(await page.evaluate(() => document.documentElement.lang), 'de');
      await Promise.all(pair.map((visitor) => visitor.leave()));
      assert.equal(JSON.parse((await get(`${front.url}talk/health`)).body).status, 'ok');
      assert.equal((await get(`${front.url}talk/metrics`)).status, 404);
      const bare = await get(`${front.url}talk`);
      assert.match(bare.headers.location, /\/talk\/$/);
    });

    test(`two visitors hear each other through ${kind.name}`, async (t) => {
      const front = await Front.start(kind, [server.port, server.port]);
      t.after(() => front.stop());
      const url = `https://switchboard.test:${front.port}/`;
      const pair = await talking(chromium.browser, url, { ignoreHTTPSErrors: true });
      await Promise.all(pair.map((visitor) => visitor.hears()));
      assert.equal(await pair[0].page.evaluate(() => window.isSecureContext), true);
      assert.deepEqual(pair.flatMap(({ errors }) => errors), []);
      // Signalling still works during the call.
      await pair[0].press('mute');
      await pair[1].reads('partner-state', /muted/);
      await pair[1].press('stop');
      await pair[0].reaches('ended');
      await Promise.all(pair.map((visitor) => visitor.leave()));
    });
  }
});
