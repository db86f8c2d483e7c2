/** Strangers meet through HAProxy and through nginx, and go on meeting while servers come and go. */

import assert from 'node:assert/strict';
import http from 'node:http';
import net from 'node:net';
import { after, before, describe, test } from 'node:test';
import { Server } from '../browser/lib/server.js';
import { Front, KINDS, get } from './lib/front.js';
import { eventually } from './lib/program.js';
import { Refused, Talker, signal } from './lib/talker.js';

const PAIRS = 50;
const LIMIT = { timeout: 120_000 };

/** The name of the server that a user came to, which it gives as its STUN server. */
const whose = (talker) => talker.session.ice_servers[0].urls[0];

/** Those who were matched, by twos. */
function inPairs(talkers) {
  const rooms = new Map();
  for (const talker of talkers) rooms.set(talker.room, [...(rooms.get(talker.room) ?? []), talker]);
  return [...rooms.values()];
}

async function couple(front) {
  const two = await Promise.all([0, 1].map(() => Talker.connect(front.ws)));
  await Promise.all(two.map((talker) => talker.findsMatch()));
  assert.equal(two[0].room, two[1].room);
  return two;
}

for (const kind of KINDS) {
  describe(`${kind.name} before two servers`, LIMIT, () => {
    let one;
    let two;
    let front;

    before(async () => {
      [one, two] = await Promise.all(
        ['one', 'two'].map((name) => Server.start('--ice-server', `stun:${name}`, '--drain-timeout', '30s')),
      );
      front = await Front.start(kind, [one.port, two.port]);
    });

    after(async () => {
      await front?.stop();
      await Promise.all([one, two].map((server) => server?.down()));
    });

    test(`${PAIRS} pairs meet and set up their calls`, LIMIT, async () => {
      const before = performance.now();
      const talkers = await Promise.all(Array.from({ length: 2 * PAIRS }, () => Talker.connect(front.ws)));
      // All in one place: strangers meet only those of their own server.
      assert.deepEqual([...new Set(talkers.map(whose))], ['stun:one']);
      await Promise.all(talkers.map((talker) => talker.findsMatch()));
      const pairs = inPairs(talkers);
      assert.deepEqual(pairs.map(({ length }) => length), Array(PAIRS).fill(2));
      for (const [ann, ben] of pairs) {
        assert.deepEqual([ann.peer, ben.peer], [ben.session.session_id, ann.session.session_id]);
      }
      await Promise.all(pairs.map(([ann, ben]) => signal(ann, ben)));
      for (const [ann, ben] of pairs) {
        await ann.leaves();
        assert.equal((await ben.hears('peer_left')).reason, 'left');
      }
      assert.deepEqual(talkers.filter(({ unheard }) => unheard > 0), []);
      await Promise.all(talkers.map((talker) => talker.ends()));
      console.log(`${kind.name}: ${PAIRS} pairs from the handshake to the end in ${Math.round(performance.now() - before)} ms`);
    });

    test('the page and what it reads are for everybody, /metrics is not', async () => {
      const page = await get(front.url);
      assert.equal(page.status, 200);
      assert.match(page.headers['content-type'], /^text\/html/);
      for (const path of ['health', 'stats']) {
        assert.equal(JSON.parse((await get(front.url + path)).body).status, 'ok', path);
      }
      const { status, body } = await get(`${front.url}metrics`);
      assert.equal(status, 404);
      assert.doesNotMatch(body, /switchboard_/);
    });

    test('who comes without TLS is sent to it', async () => {
      const { status, headers } = await fetch(`${front.plain}/x?y=z`, { redirect: 'manual' });
      assert.equal(status, 301);
      assert.match(headers.get('location'), /^https:\/\/127\.0\.0\.1(:\d+)?\/x\?y=z$/);
    });

    test('a server that drains keeps its calls, newcomers go to the other, and back when it is back', LIMIT, async () => {
      const old = await couple(front);
      const idle = await Talker.connect(front.ws);
      assert.deepEqual([...old, idle].map(whose), Array(3).fill('stun:one'));

      const down = one.down('SIGTERM');
      for (const talker of [...old, idle]) assert.ok((await talker.hears('draining')).deadline_ms > 0);
      const health = await fetch(`${one.url}health`);
      assert.equal(health.status, 503);

      let refused = 0;
      const newcomer = () => Talker.connect(front.ws).catch((error) => {
        if (!(error instanceof Refused)) throw error;
        assert.equal(error.status, 503);
        assert.ok(error.headers['retry-after'] !== undefined, 'when to come again');
        refused += 1;
      });
      const first = await eventually(newcomer, (talker) => talker !== undefined, 'an open door');
      assert.equal(whose(first), 'stun:two');
      // nginx asks the next server at once; HAProxy learns it from the next health check.
      if (kind.name === 'nginx') assert.equal(refused, 0);
      assert.equal((await get(`${front.url}health`)).status, 200);
      const young = await couple(front);
      assert.deepEqual(young.map(whose), Array(2).fill('stun:two'));
      await signal(...young);

      // The old call is still where it was, and as good as it was.
      await signal(...old);
      await idle.until(() => idle.closed !== null, 'the end of who is idle', 40_000);
      assert.equal(idle.closed, 1012);
      await signal(...old);
      await old[0].leaves();
      assert.equal((await old[1].hears('peer_left')).reason, 'left');
      await Promise.all(old.map((talker) => talker.ends()));
      await down;

      await signal(...(await couple(front)));
      await one.up();
      const back = await eventually(newcomer, (talker) => talker !== undefined && whose(talker) === 'stun:one', 'the first server again');
      await signal(...young);
      await Promise.all([first, back, ...young].map((talker) => talker.ends()));
    });
  });

  describe(`${kind.name} and WebSockets that are idle`, LIMIT, () => {
    test('pings of the server keep them, over many times the idle time', LIMIT, async (t) => {
      const front = await behind(t, '4s', '--ping-interval', '1s', '--silence-limit', '60s');
      const talker = await Talker.connect(front.ws);
      await talker.until(() => talker.pings >= 9, 'nine pings', 60_000);
      talker.says('ping', 'still here');
      assert.equal(await talker.hears('pong'), 'still here');
      await talker.ends();
    });

    test('without any, the time is up: it is this time that counts', LIMIT, async (t) => {
      const front = await behind(t, '1s');
      const talker = await Talker.connect(front.ws);
      await talker.until(() => talker.closed !== null, 'the end');
      assert.equal(talker.pings, 0);
    });

    async function behind(t, idle, ...args) {
      const server = await Server.start(...args);
      t.after(() => server.down());
      return fronted(t, kind, server.port, { idle });
    }
  });

  test(`${kind.name} passes on the user's address, and not what a user claims`, LIMIT, async (t) => {
    const server = http.createServer((request, response) => {
      response.setHeader('connection', 'close');
      response.end(JSON.stringify(request.headers));
    });
    const front = await fronted(t, kind, await listening(t, server));
    const claims = { 'X-Forwarded-For': '203.0.113.7', 'X-Forwarded-Proto': 'http' };
    const heard = JSON.parse((await get(front.url, claims)).body);
    assert.deepEqual([heard['x-forwarded-for'], heard['x-forwarded-proto']], ['127.0.0.1', 'https']);
  });
}

/** A limit of the server that bites by address shows which address has arrived. */
async function countsEachUser(t, kind, also = []) {
  const server = await Server.start('--trusted-proxy', '127.0.0.1', '--max-connections-per-address', '2');
  t.after(() => server.down());
  const front = await fronted(t, kind, server.port, { also });
  const from = (last) => Talker.connect(front.ws, {
    localAddress: `127.0.0.${last}`,
    headers: { 'X-Forwarded-For': '203.0.113.7' },
  });
  const users = [];
  for (const last of [2, 2, 3, 3, 4]) users.push(await from(last));
  for (const last of [2, 3]) {
    await assert.rejects(from(last), (error) => error instanceof Refused && error.status === 503);
  }
  // Nobody else is sent away because of them, and the proxy's own address has no limit.
  users.push(await from(4), await from(5));
  const { http: { rejected } } = JSON.parse((await get(`${front.url}stats`)).body);
  assert.ok(rejected.address_limit >= 2);
  assert.equal(rejected.proxy_header + rejected.untrusted_proxy + rejected.bad_request, 0);
  const two = await Promise.all(users.slice(1, 3).map((user) => user.findsMatch()));
  await signal(...two);
  await users[0].ends();
  const again = await eventually(() => from(2).catch(() => undefined), (talker) => talker !== undefined, 'a place again');
  await Promise.all([again, ...users.slice(1)].map((user) => user.ends()));
}

for (const kind of KINDS) {
  test(`${kind.name} tells whose a connection is, in X-Forwarded-For`, LIMIT, (t) => countsEachUser(t, kind));
}

test('HAProxy tells it in a PROXY protocol header, and so do its health checks', LIMIT, (t) => countsEachUser(t, KINDS[0], [
  ['default_backend switchboard\n', 'default_backend switchboard_proxy_protocol\n'],
  // The header alone, so that nothing else can tell it.
  ['    http-request set-header X-Forwarded-For %[src]\n', ''],
]));

/** Before one server, for one test. */
async function fronted(t, kind, port, options) {
  const front = await Front.start(kind, [port, port], options);
  t.after(() => front.stop());
  return front;
}

async function listening(t, server) {
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(() => server.close());
  return server.address().port;
}

/** Takes a PROXY protocol header, version 2, and answers with what it says of the user. */
function proxyProtocolServer() {
  return net.createServer((socket) => {
    let bytes = Buffer.alloc(0);
    socket.on('error', () => {});
    socket.on('data', (chunk) => {
      bytes = Buffer.concat([bytes, chunk]);
      if (bytes.length < 16 || !bytes.includes('\r\n\r\n', 16 + bytes.readUInt16BE(14))) return;
      const signed = bytes.subarray(0, 12).equals(Buffer.from('\r\n\r\n\0\r\nQUIT\n', 'latin1'));
      // 0x21: version 2, PROXY. 0x20 is LOCAL, a health check. 0x11: TCP over IPv4.
      const told = signed && bytes[12] === 0x21 && bytes[13] === 0x11
        ? `${bytes.subarray(16, 20).join('.')}:${bytes.readUInt16BE(24)}`
        : `signed: ${signed}, command: ${bytes[12]}`;
      socket.end(`HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: ${told.length}\r\n\r\n${told}`);
    });
  });
}

test('HAProxy tells the address in a PROXY protocol header, in the backend for that', LIMIT, async (t) => {
  const front = await fronted(t, KINDS[0], await listening(t, proxyProtocolServer()), {
    also: [['default_backend switchboard\n', 'default_backend switchboard_proxy_protocol\n']],
  });
  const { body, localPort } = await get(front.url);
  assert.equal(body, `127.0.0.1:${localPort}`);
});
