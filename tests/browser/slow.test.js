/**
 * The page over a slow network. What is checked is what the time follows from, not the time itself: the
 * requests until the page can be used, the rounds of them that wait for each other, and the bytes.
 */

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { runServerAndBrowser } from './lib/running.js';
import { Visitor } from './lib/visitor.js';

/** 50 kbit/s and 300 ms there and back, as on a phone at the edge of a GSM cell (EDGE). */
const BYTES_PER_S = 50_000 / 8;
const ROUND_TRIP_S = 0.3;
/** The page must be usable after this time. */
const LIMIT_S = 8;
/** Round trips before the first request: TCP's handshake. TLS 1.3 in front of the server adds another. */
const ROUND_TRIPS_PER_CONNECTION = 1;
/** Of each response, its head included, what TCP, IP and TLS add: 3 % for full segments, and the last one of each. */
const overheadBytes = (bytes) => 0.03 * bytes + 150;

/** What a browser loads beside the page, and after it. */
const NOT_NEEDED = new Set(['/stats', '/favicon.svg']);

describe('the page at 50 kbit/s', { timeout: 60_000 }, () => {
  const running = runServerAndBrowser();

  /** Opens the page, and the responses up to the moment when the button of the first step appears. */
  async function load(throttled) {
    const visitor = await Visitor.arrive(running.browser, null, { locale: 'de' });
    const { page } = visitor;
    const session = await page.context().newCDPSession(page);
    await session.send('Network.enable');
    const loaded = new Map();
    session.on('Network.requestWillBeSent', ({ requestId, request, initiator }) => {
      loaded.set(requestId, { path: new URL(request.url).pathname, initiator: initiator.type, bytes: 0 });
    });
    session.on('Network.loadingFinished', ({ requestId, encodedDataLength }) => {
      const response = loaded.get(requestId);
      if (response !== undefined) response.bytes = encodedDataLength;
    });
    if (throttled) {
      await session.send('Network.emulateNetworkConditions', {
        offline: false,
        latency: ROUND_TRIP_S * 1000,
        downloadThroughput: BYTES_PER_S,
        uploadThroughput: BYTES_PER_S,
      });
    }
    const began = performance.now();
    await page.goto(running.server.url, { waitUntil: 'commit', timeout: 40_000 });
    await page.waitForSelector('#ask', { timeout: 40_000 });
    const seconds = (performance.now() - began) / 1000;
    await page.waitForLoadState('networkidle');
    await visitor.leave();
    return { seconds, responses: [...loaded.values()].filter(({ path }) => !NOT_NEEDED.has(path)) };
  }

  test('can be used within 8 s, from its requests and bytes', async () => {
    const { responses } = await load(false);
    const bytes = responses.reduce((sum, response) => sum + response.bytes + overheadBytes(response.bytes), 0);
    const summary = responses.map(({ path, bytes }) => `${path} ${bytes}`).join(', ');
    // The document, then what it names at once, then what its script asks for.
    const chained = responses.filter(({ initiator }) => initiator === 'script').length;
    const rounds = 2 + chained;
    const seconds = bytes / BYTES_PER_S + ROUND_TRIP_S * (ROUND_TRIPS_PER_CONNECTION + rounds);
    console.log(`${responses.length} requests, ${Math.round(bytes)} bytes: ${seconds.toFixed(1)} s at 50 kbit/s (${summary})`);
    assert.ok(seconds < LIMIT_S, `${seconds.toFixed(1)} s: ${summary}`);
  });

  test('shows its first step over a throttled connection', async () => {
    const { seconds, responses } = await load(true);
    console.log(`throttled by the browser: ${seconds.toFixed(1)} s until the first button`);
    assert.ok(responses.every(({ bytes }) => bytes > 0));
  });
});
