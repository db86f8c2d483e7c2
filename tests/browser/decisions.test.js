/** What the page decides, apart from any browser: phases, repair, and the words for them. */

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { advance, inCall } from '../../src/page/web/phase.js';
import { advise } from '../../src/page/web/watch.js';
import { Vitals, grade } from '../../src/page/web/vitals.js';
import { usersOnline } from '../../src/page/web/users.js';
import { banner, clock, userCount, quality, refusal, words } from '../../src/page/web/words.js';

const PARTINGS = [
  ['left', 'next', 'disconnected', 'timeout'],
  ['lost', 'unreachable', 'relay_refused', 'relay_missing'],
].flat();
const MIC = ['denied', 'dismissed', 'none', 'busy', 'other'];
const SIGNALLING = ['up', 'partner_away', 'partner_gone', 'own_gone'];

const PHASES = [
  { name: 'blocked', why: 'insecure' },
  { name: 'blocked', why: 'no_webrtc' },
  { name: 'welcome' },
  { name: 'asking' },
  ...MIC.map((why) => ({ name: 'mic_failed', why })),
  { name: 'ready' },
  { name: 'searching', since: 0 },
  ...PARTINGS.map((after) => ({ name: 'searching', since: 0, after })),
  { name: 'connecting', since: 0 },
  ...SIGNALLING.flatMap((signalling) =>
    [true, false].map((silent) => ({ name: 'talking', since: 0, signalling, silent })),
  ),
  ...PARTINGS.map((why) => ({ name: 'ended', why })),
];

const EVENTS = [
  { type: 'ask' },
  { type: 'mic_opened' },
  ...MIC.map((why) => ({ type: 'mic_failed', why })),
  { type: 'search', at: 1 },
  { type: 'stop' },
  { type: 'matched', at: 1 },
  { type: 'audio', at: 1 },
  { type: 'silence', silent: true },
  { type: 'signalling', signalling: 'partner_away' },
  ...PARTINGS.map((why) => ({ type: 'ended', why })),
];

/** @param {object} [more] */
const vitals = (more) => ({
  state: 'connected',
  ageMs: 60_000,
  audioMs: 100,
  restartMs: 60_000,
  signalled: true,
  ...more,
});

describe('phases', () => {
  test('the way through, from the door to the next partner', () => {
    const path = [
      [{ type: 'ask' }, 'asking'],
      [{ type: 'mic_opened' }, 'ready'],
      [{ type: 'search', at: 1 }, 'searching'],
      [{ type: 'matched', at: 2 }, 'connecting'],
      [{ type: 'audio', at: 3 }, 'talking'],
      [{ type: 'ended', why: 'left' }, 'ended'],
      [{ type: 'search', at: 4 }, 'searching'],
      [{ type: 'stop' }, 'ready'],
    ];
    let phase = { name: 'welcome' };
    for (const [event, name] of path) {
      phase = advance(phase, event);
      assert.equal(phase.name, name);
    }
  });

  test('every event means something or nothing in every phase, and never breaks one', () => {
    for (const phase of PHASES) {
      for (const event of EVENTS) {
        const next = advance(phase, event);
        assert.ok(PHASES.some(({ name }) => name === next.name), `${phase.name} ${event.type}`);
      }
    }
  });

  test('without a microphone nobody gets into a line or a call', () => {
    const deaf = PHASES.filter(({ name }) => ['blocked', 'welcome', 'asking', 'mic_failed'].includes(name));
    for (const phase of deaf) {
      for (const event of EVENTS) {
        const { name } = advance(phase, event);
        assert.ok(!inCall({ name }) && name !== 'searching', `${phase.name} ${event.type}`);
      }
    }
  });

  test('a match that nobody waits for changes nothing', () => {
    for (const phase of PHASES.filter(({ name }) => name !== 'searching')) {
      assert.equal(advance(phase, { type: 'matched', at: 1 }), phase);
    }
  });
});

describe('repair', () => {
  test('audio that flows outweighs every state', () => {
    for (const state of ['new', 'connecting', 'connected', 'disconnected', 'failed']) {
      for (const signalled of [true, false]) {
        assert.equal(advise(vitals({ state, signalled })), 'wait', state);
      }
    }
  });

  test('disconnected alone ends nothing; without audio it is repaired, and only then given up', () => {
    const at = (audioMs) => advise(vitals({ state: 'disconnected', audioMs }));
    assert.deepEqual([2_900, 3_100, 29_000, 31_000].map(at), ['wait', 'restart', 'restart', 'give_up']);
  });

  test('a repair under way is given its time', () => {
    const at = (restartMs) => advise(vitals({ state: 'failed', audioMs: 5_000, restartMs }));
    assert.deepEqual([1_000, 10_000].map(at), ['wait', 'restart']);
  });

  test('what cannot be signalled cannot be repaired', () => {
    const at = (state, audioMs) => advise(vitals({ state, audioMs, signalled: false }));
    assert.equal(at('failed', 4_000), 'give_up');
    assert.equal(at('disconnected', 4_000), 'wait');
    assert.equal(at('disconnected', 9_000), 'give_up');
  });

  test('silence on a sound connection is somebody who says nothing', () => {
    assert.equal(advise(vitals({ audioMs: 300_000 })), 'wait');
  });

  test('a call that never begins is given up', () => {
    const at = (ageMs) => advise(vitals({ state: 'connecting', audioMs: null, ageMs }));
    assert.deepEqual([20_000, 26_000].map(at), ['wait', 'give_up']);
  });
});

describe('vitals', () => {
  const report = (...stats) => new Map(stats.map((stat, nth) => [stat.id ?? String(nth), stat]));
  const inbound = { type: 'inbound-rtp', kind: 'audio', bytesReceived: 500, jitter: 0.01 };

  test('loss is counted from one reading to the next', () => {
    const eye = new Vitals();
    eye.read(report({ ...inbound, packetsReceived: 100, packetsLost: 50 }));
    const reading = eye.read(report({ ...inbound, packetsReceived: 190, packetsLost: 60 }));
    assert.equal(reading.lossRatio, 0.1);
    assert.equal(reading.bytesReceived, 500);
    assert.equal(reading.jitterMs, 10);
  });

  test('the way is that of the chosen pair, relayed if either end is', () => {
    const way = (local, remote) =>
      new Vitals().read(
        report(
          { id: 't', type: 'transport', selectedCandidatePairId: 'p' },
          { id: 'p', currentRoundTripTime: 0.05, localCandidateId: 'l', remoteCandidateId: 'r' },
          { id: 'l', candidateType: local },
          { id: 'r', candidateType: remote },
        ),
      );
    assert.equal(way('host', 'srflx').relayed, false);
    assert.equal(way('host', 'relay').relayed, true);
    assert.equal(way('host', 'host').rttMs, 50);
    assert.equal(new Vitals().read(report()).relayed, null);
  });

  test('grades follow delay and loss', () => {
    const graded = (rttMs, lossRatio) => grade({ rttMs, lossRatio, jitterMs: 0 });
    assert.deepEqual(
      [[20, 0], [null, 0], [400, 0], [20, 0.05], [900, 0], [20, 0.2]].map((args) => graded(...args)),
      ['good', 'good', 'fair', 'fair', 'poor', 'poor'],
    );
  });
});

describe('the crowd', () => {
  test('what cannot be told is null, and figures that are kept elsewhere are asked for once', async (t) => {
    const answers = [
      () => Response.json({ sessions: { active: 3 } }),
      () => Response.json({ status: 'ok' }),
      () => new Response('busy', { status: 503 }),
      () => Promise.reject(new TypeError('no network')),
      () => Response.json({ sessions: { active: 4 } }),
      () => new Response('there is nothing here', { status: 404 }),
    ];
    const fetched = t.mock.method(globalThis, 'fetch', async () => answers[fetched.mock.callCount()]());
    const heard = [];
    for (let nth = 0; nth < 8; nth += 1) heard.push(await usersOnline());
    assert.deepEqual(heard, [3, null, null, null, 4, null, null, null]);
    assert.equal(fetched.mock.callCount(), answers.length);
  });
});

describe('words', () => {
  test('there are some for every phase', () => {
    for (const phase of PHASES) {
      const { headline, detail } = words(phase);
      assert.match(headline, /\w/, JSON.stringify(phase));
      assert.match(detail, /[.?]$/, JSON.stringify(phase));
      assert.doesNotMatch(headline + detail, /undefined|null/);
    }
  });

  test('every error and close code of the protocol has a sentence of its own kind', () => {
    const codes = ['bad_json', 'bad_message', 'unknown_type', 'bad_queue', 'rate_limited', 'draining'];
    for (const code of codes) assert.doesNotMatch(refusal(code, 'raw'), /raw/);
    assert.match(refusal('newer', 'raw'), /raw/);
    const line = { status: 'retrying', draining: false, offline: false };
    for (const code of [1001, 1002, 1006, 1007, 1008, 1009, 1011, 1012, 1013, 4001]) {
      assert.match(banner({ ...line, code }, true), /Your call goes on\. Trying again/);
    }
    assert.match(banner({ ...line, offline: true }, false), /offline/);
  });

  test('all is quiet while the line is open, connects for the first time, or is not wanted', () => {
    for (const status of ['open', 'connecting', 'closed']) {
      assert.equal(banner({ status, draining: false, offline: false }, true), null);
    }
  });

  test('clock, crowd and quality read as people write them', () => {
    assert.deepEqual([0, 61_000, 3_600_000, -5].map(clock), ['00:00', '01:01', '1:00:00', '00:00']);
    assert.deepEqual(
      [null, -1, 0, 1, 2].map(userCount),
      ['', 'No one else is here', 'No one else is here', 'One other is here', '2 others are here'],
    );
    assert.equal(quality('good', { rttMs: 23.4, relayed: false }), 'Clear line · direct · 23 ms');
    assert.equal(quality('poor', { rttMs: null, relayed: true }), 'Poor line · through a relay');
  });
});
