/** Who sees the network address of a visitor. */

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { runServerAndBrowser } from './lib/running.js';
import { Visitor } from './lib/visitor.js';

const RELAY = [{ urls: ['turn:127.0.0.1:9'], username: 'me', credential: 'secret' }];

describe('the network address of a visitor', { timeout: 120_000 }, () => {
  const running = runServerAndBrowser();

  /** A visitor whose `session` message has these members; the rest comes from the server. */
  async function arrive(t, session, settings) {
    const visitor = await Visitor.arrive(running.browser, 'about:blank', { settings });
    t.after(() => visitor.leave());
    await visitor.page.addInitScript((members) => {
      const { parse } = JSON;
      JSON.parse = (...args) => {
        const value = parse(...args);
        if (value?.type === 'session') Object.assign(value.payload, members);
        return value;
      };
      const Actual = RTCPeerConnection;
      window.policies = [];
      window.RTCPeerConnection = class extends Actual {
        constructor(configuration) {
          window.policies.push(configuration.iceTransportPolicy);
          super(configuration);
        }
      };
    }, session);
    await visitor.page.goto(running.server.url);
    return visitor;
  }

  const box = (visitor) =>
    visitor.page.$eval('#relay-only', ({ checked, disabled }) => ({ checked, disabled }));

  test('is mentioned on the welcome page', async (t) => {
    const ann = await arrive(t, {});
    await ann.reads('privacy', /can see your network address/);
    await ann.shoot('state-welcome');
  });

  test('cannot be hidden where there is no relay, and the switch says so', async (t) => {
    const ann = await arrive(t, {});
    await ann.checkMicrophone();
    await ann.reads('relay-hint', /this site has none/);
    assert.deepEqual(await box(ann), { checked: false, disabled: true });
  });

  test('is never shown by a visitor who wants to hide it where there is no relay', async (t) => {
    const ann = await arrive(t, {}, { relayOnly: true });
    await ann.start();
    await ann.reaches('refused');
    await ann.reads('headline', /no relay can hide/i);
    await ann.page.click('summary');
    assert.deepEqual(await box(ann), { checked: true, disabled: false });
    await ann.page.click('#relay-only');
    await ann.press('start');
    await ann.reads('detail', /in line/);
  });

  test('is hidden by a site that allows relayed calls only', async (t) => {
    const pair = [];
    for (let nth = 0; nth < 2; nth += 1) pair.push(await arrive(t, { ice_servers: RELAY, relay_only: true }));
    const [ann, ben] = pair;
    await ann.checkMicrophone();
    await ann.reads('relay-hint', /always does that/);
    assert.deepEqual(await box(ann), { checked: true, disabled: true });
    await ann.reads('privacy', /a relay hides/i);
    await ann.press('start');
    await ben.start();
    for (const visitor of pair) await visitor.page.waitForFunction(() => window.policies.length === 1);
    assert.deepEqual(await ann.page.evaluate(() => window.policies), ['relay']);
    assert.equal(await ann.page.evaluate(() => JSON.parse(localStorage.getItem('switchboard'))?.relayOnly ?? false), false);
  });

  test('can be hidden from the next call on, as the switch says during a call', async (t) => {
    const pair = [];
    for (let nth = 0; nth < 2; nth += 1) pair.push(await arrive(t, { ice_servers: RELAY }));
    const [ann, ben] = pair;
    await ann.checkMicrophone();
    await ann.reads('relay-hint', /go through this site’s relay\.$/);
    await ann.press('start');
    await ben.start();
    await ann.reaches('talking');
    await ann.reads('relay-hint', /next call on/);
    await ann.page.click('summary');
    await ann.page.click('#relay-only');
    assert.deepEqual(await ann.page.evaluate(() => window.policies), ['all']);
  });
});
