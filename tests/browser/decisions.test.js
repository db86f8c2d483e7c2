/** The pure parts of the page: phases, ICE restart decisions, call quality, and texts. */

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { hasRelay, lastingServers } from '../../src/page/web/ice.js';
import { obstacleOf } from '../../src/page/web/obstacle.js';
import { advance, inCall, lineOf } from '../../src/page/web/phase.js';
import { queueOf } from '../../src/page/web/queue.js';
import { advise } from '../../src/page/web/watch.js';
import { Vitals, grade } from '../../src/page/web/vitals.js';
import { usersOnline } from '../../src/page/web/users.js';
import { banner, clock, isLost, userCount, quality, refusal, text, useLanguage, words } from '../../src/page/web/words.js';

const END_REASONS = [
  ['left', 'next', 'disconnected', 'timeout'],
  ['lost', 'unreachable', 'relay_refused', 'relay_missing'],
].flat();
const MIC = ['denied', 'dismissed', 'none', 'busy', 'other'];
const SIGNALLING = ['up', 'partner_away', 'partner_gone', 'own_gone'];

const REFUSALS = ['bad_queue', 'long_queue', 'no_relay', 'other'];
const LINES = [
  { name: 'waiting', queue: '' },
  { name: 'waiting', queue: 'en' },
  { name: 'away' },
  { name: 'asking' },
  ...['too_many_matches', 'rate_limited'].map((why) => ({ name: 'held', why, until: 5 })),
  { name: 'held', why: 'draining' },
];

const PHASES = [
  { name: 'blocked', why: 'insecure' },
  { name: 'blocked', why: 'no_webrtc' },
  { name: 'welcome' },
  { name: 'asking' },
  ...MIC.map((why) => ({ name: 'mic_failed', why })),
  { name: 'ready' },
  { name: 'asking', then: 'search' },
  ...LINES.map((line) => ({ name: 'searching', since: 0, line })),
  ...END_REASONS.map((after) => ({ name: 'searching', since: 0, after, line: LINES[0] })),
  ...REFUSALS.map((why) => ({ name: 'refused', why })),
  { name: 'stopped' },
  { name: 'connecting', since: 0 },
  ...SIGNALLING.flatMap((signalling) =>
    [true, false].map((silent) => ({ name: 'talking', since: 0, signalling, silent })),
  ),
  ...END_REASONS.map((why) => ({ name: 'ended', why })),
];

const EVENTS = [
  { type: 'ask' },
  { type: 'mic_opened', at: 1 },
  ...LINES.map((line) => ({ type: 'line', line, at: 1 })),
  ...REFUSALS.map((why) => ({ type: 'refused', why })),
  ...MIC.map((why) => ({ type: 'mic_failed', why })),
  { type: 'search', at: 1 },
  { type: 'stop' },
  { type: 'matched', at: 1 },
  { type: 'audio', at: 1 },
  { type: 'silence', silent: true },
  { type: 'signalling', signalling: 'partner_away' },
  ...END_REASONS.map((why) => ({ type: 'ended', why })),
];

/** @param {object} [more] */
const callState = (more) => ({
  state: 'connected',
  ageMs: 60_000,
  audioMs: 100,
  restartMs: 60_000,
  signalled: true,
  unanswered: false,
  ...more,
});

describe('phases', () => {
  test('a visitor passes from welcome through a call to the next search', () => {
    const path = [
      [{ type: 'ask' }, 'asking'],
      [{ type: 'mic_opened', at: 1 }, 'ready'],
      [{ type: 'search', at: 1 }, 'searching'],
      [{ type: 'matched', at: 2 }, 'connecting'],
      [{ type: 'audio', at: 3 }, 'talking'],
      [{ type: 'ended', why: 'left' }, 'ended'],
      [{ type: 'search', at: 4 }, 'searching'],
      [{ type: 'stop' }, 'stopped'],
      [{ type: 'search', at: 5 }, 'asking'],
      [{ type: 'mic_opened', at: 6 }, 'searching'],
      [{ type: 'refused', why: 'bad_queue' }, 'refused'],
      [{ type: 'search', at: 7 }, 'searching'],
    ];
    let phase = { name: 'welcome' };
    for (const [event, name] of path) {
      phase = advance(phase, event);
      assert.equal(phase.name, name);
    }
  });

  test('every event in every phase leads to a known phase', () => {
    for (const phase of PHASES) {
      for (const event of EVENTS) {
        const next = advance(phase, event);
        assert.ok(PHASES.some(({ name }) => name === next.name), `${phase.name} ${event.type}`);
      }
    }
  });

  test('without a microphone no event leads to a search or a call', () => {
    const withoutMicrophone = PHASES.filter(({ name }) =>
      ['blocked', 'welcome', 'asking', 'mic_failed', 'stopped'].includes(name),
    );
    for (const phase of withoutMicrophone) {
      for (const event of EVENTS.filter(({ type }) => type !== 'mic_opened')) {
        const { name } = advance(phase, event);
        assert.ok(!inCall({ name }) && name !== 'searching', `${phase.name} ${event.type}`);
      }
    }
  });

  test('a match has no effect while the page is not searching', () => {
    for (const phase of PHASES.filter(({ name }) => name !== 'searching')) {
      assert.equal(advance(phase, { type: 'matched', at: 1 }), phase);
    }
  });
});

describe('the line', () => {
  const search = (line) => {
    const phase = advance({ name: 'ready' }, { type: 'search', at: 1 });
    return line === undefined ? phase : advance(phase, { type: 'line', line, at: 50 });
  };

  test('is what the server confirmed, not what was asked for', () => {
    assert.deepEqual(search().line, { name: 'asking' });
    assert.deepEqual(lineOf('open', 'idle', null, 'en'), { name: 'asking' });
    assert.deepEqual(lineOf('open', 'in_room', null, 'en'), { name: 'asking' });
    assert.deepEqual(lineOf('open', 'waiting', null, 'en'), { name: 'waiting', queue: 'en' });
    const held = { name: 'held', why: 'too_many_matches', until: 9 };
    assert.deepEqual(lineOf('open', 'idle', held, ''), held);
    for (const status of ['closed', 'connecting', 'retrying']) {
      assert.deepEqual(lineOf(status, 'unknown', held, ''), { name: 'away' });
    }
  });

  test('has a time that begins when the server confirmed it', () => {
    assert.equal(search({ name: 'waiting', queue: '' }).since, 50);
    const lost = advance(search({ name: 'waiting', queue: '' }), { type: 'line', line: { name: 'away' }, at: 60 });
    assert.equal(advance(lost, { type: 'line', line: { name: 'waiting', queue: '' }, at: 70 }).since, 70);
    const waiting = search({ name: 'waiting', queue: '' });
    assert.equal(advance(waiting, { type: 'line', line: { name: 'waiting', queue: '' }, at: 99 }), waiting);
  });

  test('is called so only while the visitor is in it', () => {
    for (const line of LINES) {
      const { detail } = words(search(line));
      assert.equal(/You are in (the )?line/.test(detail), line.name === 'waiting', detail);
    }
    assert.match(words(search({ name: 'waiting', queue: 'my room' })).detail, /“\u2068my room\u2069”/);
  });
});

describe('the queue of an address', () => {
  test('is its fragment, encoded where the server has no such character', () => {
    for (const [hash, name, label] of [
      ['', undefined, ''],
      ['#', undefined, ''],
      ['#%20', undefined, ''],
      ['#en', 'en', 'en'],
      ['#a:b_c.d-E9', 'a:b_c.d-E9', 'a:b_c.d-E9'],
      ['#my room', 'my:20room', 'my room'],
      ['#my%20room', 'my:20room', 'my room'],
      ['#caf%C3%A9', 'caf:c3:a9', 'café'],
      ['#cafe\u0301', 'caf:c3:a9', 'café'],
      ['#100%', '100:25', '100%'],
      ['#%E0', ':25E0', '%E0'],
      ['#日本', ':e6:97:a5:e6:9c:ac', '日本'],
    ]) {
      const queue = queueOf(hash);
      assert.deepEqual([queue.name, queue.label, queue.tooLong], [name, label, false], hash);
    }
  });

  test('has no control or bidirectional characters, which could make it look like another', () => {
    const { name, label } = queueOf('#a%00%E2%80%AE%E2%81%A6b%0A%E2%80%8E');
    assert.deepEqual([name, label], ['ab', 'ab']);
  });

  test('is too long above 64 characters as sent', () => {
    assert.equal(queueOf(`#${'a'.repeat(64)}`).tooLong, false);
    assert.equal(queueOf(`#${'a'.repeat(65)}`).tooLong, true);
    assert.equal(queueOf(`#${'é'.repeat(10)}`).tooLong, false);
    assert.equal(queueOf(`#${'é'.repeat(11)}`).tooLong, true);
  });

  test('never has a name that the server refuses for its characters', () => {
    for (let code = 0; code < 0x500; code += 1) {
      const { name } = queueOf(`#${String.fromCodePoint(code)}x`);
      assert.match(name, /^[A-Za-z0-9_.:-]+$/, `U+${code.toString(16)}`);
    }
  });
});

describe('the ICE servers of a call', () => {
  const turn = (end) => [{ urls: ['stun:a'] }, { urls: ['turn:a'], username: `${end}:me`, credential: 'x' }];

  test('are those of the match until they end, then those of the session', () => {
    const [match, session] = [turn(3_600), turn(86_400)];
    const at = (nowS) => lastingServers(match, session, nowS);
    assert.deepEqual([0, 3_500, 3_550, 90_000].map((nowS) => at(nowS) === match), [true, true, false, false]);
  });

  test('are those of the match where nothing lasts longer', () => {
    const old = turn(3_600);
    for (const match of [turn(3_600), [{ urls: 'stun:a' }], turn(9_000)]) {
      assert.equal(lastingServers(match, old, 5_000), match);
    }
  });

  test('have a relay if one of them is a TURN server', () => {
    assert.equal(hasRelay([{ urls: 'stun:a' }]), false);
    assert.equal(hasRelay([{ urls: ['stun:a', 'turns:a'] }]), true);
  });
});

describe('what is in the way of a connection', () => {
  const answer = (status, text = '') => ({ status, text, retryAfterMs: null });
  const ok = answer(200, '{"status":"ok"}');

  test('follows from the answers of the server', () => {
    for (const [health, upgrade, obstacle] of [
      [null, null, 'unreachable'],
      [answer(502, 'bad gateway'), null, 'unreachable'],
      [answer(503, '<html>no server is available'), null, 'unreachable'],
      [answer(503, '{"status":"draining"}'), null, 'draining'],
      [answer(503, 'too many connections\n'), null, 'full'],
      [answer(429, 'too many connections from this address\n'), null, 'address'],
      [ok, answer(403, 'pages of this origin'), 'origin'],
      [ok, answer(429), 'address'],
      [ok, answer(503, 'too many new connections from this address\n'), 'address'],
      [ok, answer(503, 'too many connections\n'), 'full'],
      [ok, answer(503, 'the server is shutting down\n'), 'draining'],
      [ok, answer(405), null],
      [ok, ok, null],
      [ok, null, null],
    ]) {
      assert.equal(obstacleOf(health, upgrade, 1), obstacle, JSON.stringify([health, upgrade]));
    }
    assert.equal(obstacleOf(ok, ok, 3), 'no_websocket');
  });

  test('has a text that says what to do', () => {
    const connection = { status: 'retrying', code: 1006, draining: false, offline: false };
    const seen = new Set();
    for (const obstacle of ['unreachable', 'draining', 'full', 'address', 'origin', 'no_websocket']) {
      seen.add(banner({ ...connection, obstacle }, false));
      const more = obstacle === 'origin' ? /Your call continues\.$/ : /Your call continues\. Trying again/;
      assert.match(banner({ ...connection, obstacle }, true), more);
    }
    assert.equal(seen.size, 6);
    assert.doesNotMatch(banner({ ...connection, obstacle: 'origin' }, false), /again/i, 'it would not help');
  });
});

describe('ICE restart', () => {
  test('received audio outweighs every connection state', () => {
    for (const state of ['new', 'connecting', 'connected', 'disconnected', 'failed']) {
      for (const signalled of [true, false]) {
        assert.equal(advise(callState({ state, signalled })), 'wait', state);
      }
    }
  });

  test('a disconnected call without audio is restarted first and ended later', () => {
    const at = (audioMs) => advise(callState({ state: 'disconnected', audioMs }));
    assert.deepEqual([2_900, 3_100, 29_000, 31_000].map(at), ['wait', 'restart', 'restart', 'give_up']);
  });

  test('an offer that is not answered is sent again', () => {
    const offered = { state: 'connecting', audioMs: null, ageMs: 7_000, unanswered: true };
    const at = (more) => advise(callState({ ...offered, ...more }));
    assert.equal(at({ restartMs: 5_000 }), 'wait');
    assert.equal(at({ restartMs: 6_500 }), 'restart');
    assert.equal(at({ restartMs: 6_500, signalled: false }), 'wait');
    assert.equal(at({ restartMs: 6_500, unanswered: false }), 'wait');
    // During a call too: the offer was that of an ICE restart.
    assert.equal(at({ restartMs: 6_500, audioMs: 4_000 }), 'restart');
    assert.equal(at({ restartMs: 6_500, audioMs: 100 }), 'wait');
  });

  test('no second restart begins while one is in progress', () => {
    const at = (restartMs) => advise(callState({ state: 'failed', audioMs: 5_000, restartMs }));
    assert.deepEqual([1_000, 10_000].map(at), ['wait', 'restart']);
  });

  test('without signalling a broken call is given up instead of restarted', () => {
    const at = (state, audioMs) => advise(callState({ state, audioMs, signalled: false }));
    assert.equal(at('failed', 4_000), 'give_up');
    assert.equal(at('disconnected', 4_000), 'wait');
    assert.equal(at('disconnected', 9_000), 'give_up');
  });

  test('silence on a connected call does not end it', () => {
    assert.equal(advise(callState({ audioMs: 300_000 })), 'wait');
  });

  test('a call without any audio is given up after 25 s', () => {
    const at = (ageMs) => advise(callState({ state: 'connecting', audioMs: null, ageMs }));
    assert.deepEqual([20_000, 26_000].map(at), ['wait', 'give_up']);
  });
});

describe('vitals', () => {
  const report = (...stats) => new Map(stats.map((stat, nth) => [stat.id ?? String(nth), stat]));
  const inbound = { type: 'inbound-rtp', kind: 'audio', bytesReceived: 500, jitter: 0.01 };

  test('packet loss is computed between two readings', () => {
    const meter = new Vitals();
    meter.read(report({ ...inbound, packetsReceived: 100, packetsLost: 50 }));
    const reading = meter.read(report({ ...inbound, packetsReceived: 190, packetsLost: 60 }));
    assert.equal(reading.lossRatio, 0.1);
    assert.equal(reading.bytesReceived, 500);
    assert.equal(reading.jitterMs, 10);
  });

  test('a call is relayed if either candidate of the selected pair is', () => {
    const read = (local, remote) =>
      new Vitals().read(
        report(
          { id: 't', type: 'transport', selectedCandidatePairId: 'p' },
          { id: 'p', currentRoundTripTime: 0.05, localCandidateId: 'l', remoteCandidateId: 'r' },
          { id: 'l', candidateType: local },
          { id: 'r', candidateType: remote },
        ),
      );
    assert.equal(read('host', 'srflx').relayed, false);
    assert.equal(read('host', 'relay').relayed, true);
    assert.equal(read('host', 'host').rttMs, 50);
    assert.equal(new Vitals().read(report()).relayed, null);
  });

  test('the grade of a connection depends on its delay and packet loss', () => {
    const graded = (rttMs, lossRatio) => grade({ rttMs, lossRatio, jitterMs: 0 });
    assert.deepEqual(
      [[20, 0], [null, 0], [400, 0], [20, 0.05], [900, 0], [20, 0.2]].map((args) => graded(...args)),
      ['good', 'good', 'fair', 'fair', 'poor', 'poor'],
    );
  });
});

describe('the number of users', () => {
  test('is null when unknown, and is not requested again after a 404', async (t) => {
    const answers = [
      () => Response.json({ sessions: { active: 3 } }),
      () => Response.json({ status: 'ok' }),
      () => new Response('busy', { status: 503 }),
      () => Promise.reject(new TypeError('no network')),
      () => Response.json({ sessions: { active: 4 } }),
      () => new Response('not found', { status: 404 }),
    ];
    const fetched = t.mock.method(globalThis, 'fetch', async () => answers[fetched.mock.callCount()]());
    const results = [];
    for (let nth = 0; nth < 8; nth += 1) results.push(await usersOnline());
    assert.deepEqual(results, [3, null, null, null, 4, null, null, null]);
    assert.equal(fetched.mock.callCount(), answers.length);
  });
});

describe('texts', () => {
  test('are English when another language does not load in time', async () => {
    const never = () => new Promise(() => {});
    assert.equal((await useLanguage('de', never, 1)).language, 'en');
    assert.equal(text('button.stop'), 'Stop');
  });

  test('know a lost connection from the first attempt', () => {
    const lost = [['retrying', 1006], ['retrying', undefined], ['connecting', 1006], ['connecting', undefined], ['open', undefined]];
    assert.deepEqual(lost.map(([status, code]) => isLost({ status, code })), [true, true, true, false, false]);
  });

  test('exist for every phase', () => {
    for (const phase of PHASES) {
      const { headline, detail } = words(phase);
      assert.match(headline, /\w/, JSON.stringify(phase));
      assert.match(detail, /[.?]$/, JSON.stringify(phase));
      assert.doesNotMatch(headline + detail, /undefined|null/);
    }
  });

  test('exist for every error code and close code of the protocol', () => {
    const codes = ['bad_json', 'bad_message', 'unknown_type', 'bad_queue', 'rate_limited', 'draining'];
    for (const code of codes) assert.doesNotMatch(refusal(code, 'raw'), /raw/);
    assert.match(refusal('newer', 'raw'), /raw/);
    const connection = { status: 'retrying', draining: false, offline: false, obstacle: null };
    for (const code of [1001, 1002, 1006, 1007, 1008, 1009, 1011, 1012, 1013, 4001]) {
      assert.match(banner({ ...connection, code }, true), /Your call continues\. Trying again/);
    }
    assert.match(banner({ ...connection, offline: true }, false), /offline/);
  });

  test('show no banner while the connection is open, connects first, or is closed', () => {
    for (const status of ['open', 'connecting', 'closed']) {
      assert.equal(banner({ status, draining: false, offline: false }, true), null);
    }
  });

  test('format the clock, the number of users and the quality', () => {
    assert.deepEqual([0, 61_000, 3_600_000, -5].map(clock), ['00:00', '01:01', '1:00:00', '00:00']);
    assert.deepEqual(
      [null, -1, 0, 1, 2].map(userCount),
      ['', 'No one else is here', 'No one else is here', 'One other is here', '2 others are here'],
    );
    assert.equal(quality('good', { arriving: true, rttMs: 23.4, relayed: false }), 'Clear line · direct · 23 ms');
    assert.equal(quality('good', { arriving: false, rttMs: 23.4, relayed: false }), 'No sound arrives');
    assert.equal(quality('poor', { arriving: true, rttMs: null, relayed: true }), 'Poor line · through a relay');
  });
});
