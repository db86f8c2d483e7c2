/** What a suite of tests has running: a server and a browser. */

import { after, before } from 'node:test';
import { openBrowser } from './engine.js';
import { Server } from './server.js';

/**
 * Starts a server and a browser before the tests of the suite that calls this, and ends both after them.
 * @param {Parameters<typeof openBrowser>[0]} [options] of the browser
 * @param {...string} flags of the server
 * @returns {{ server: Server, browser: import('playwright-core').Browser }} filled before the first test
 */
export function runServerAndBrowser(options, ...flags) {
  const running = {};
  let opened;

  before(async () => {
    running.server = await Server.start(...flags);
    opened = await openBrowser(options);
    running.browser = opened.browser;
  });

  after(async () => {
    await opened?.close();
    await running.server?.down();
  });

  return running;
}
