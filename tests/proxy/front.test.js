/** Users meet through HAProxy and nginx, also while servers behind them drain and restart. */

import assert from 'node:assert/strict';
import http from 'node:http';
import net from 'node:net';
import { after, before, describe, test } from 'node:test';
import { Server } from '../browser/lib/server.js';
import { Front, KINDS, get } from './lib/front.js';
import { eventually } from './lib/program.js';
import { UpgradeRefused, TestClient, signal } from './lib/test-client.js';

const PAIRS = 50;
const LIMIT = { timeout: 120_000 };

/** The name of the server that a user is connected to: each server announces it as its STUN server. */
const serverOf = (client) => client.session.ice_servers[0].urls[0];

/** The matched users by room. */
function byRoom(clients) {
  const rooms = new Map();
  for (const client of clients) rooms.set(client.room, [...(rooms.get(client.room) ?? []), client]);
  return [...rooms.values()];
}

async function connectPair(front) {
  const two = await Promise.all([0, 1].map(() => TestClient.connect(front.ws)));
  await Promise.all(two.map((client) => client.findMatch()));
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
      const clients = await Promise.all(Array.from({ length: 2 * PAIRS }, () => TestClient.connect(front.ws)));
      // All on one server: users meet only users of the same server.
      assert.deepEqual([...new Set(clients.map(serverOf))], ['stun:one']);
      await Promise.all(clients.map((client) => client.findMatch()));
      const pairs = byRoom(clients);
      assert.deepEqual(pairs.map(({ length }) => length), Array(PAIRS).fill(2));
      for (const [ann, ben] of pairs) {
        assert.deepEqual([ann.peer, ben.peer], [ben.session.session_id, ann.session.session_id]);
      }
      await Promise.all(pairs.map(([ann, ben]) => signal(ann, ben)));
      for (const [ann, ben] of pairs) {
        await ann.leaveRoom();
        assert.equal((await ben.expects('peer_left')).reason, 'left');
      }
      assert.deepEqual(clients.filter(({ unexpected }) => unexpected > 0), []);
      await Promise.all(clients.map((client) => client.close()));
      console.log(`${kind.name}: ${PAIRS} pairs from the handshake to the end in ${Math.round(performance.now() - before)} ms`);
    });

    test('the page, /health and /stats are public, /metrics is not', async () => {
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

    test('plain HTTP is redirected to HTTPS', async () => {
      const { status, headers } = await fetch(`${front.plain}/x?y=z`, { redirect: 'manual' });
      assert.equal(status, 301);
      assert.match(headers.get('location'), /^https:\/\/127\.0\.0\.1(:\d+)?\/x\?y=z$/);
    });

    test('a draining server keeps its calls while new users go to the other server', LIMIT, async () => {
      const old = await connectPair(front);
      const idle = await TestClient.connect(front.ws);
      assert.deepEqual([...old, idle].map(serverOf), Array(3).fill('stun:one'));

      const down = one.down('SIGTERM');
      for (const client of [...old, idle]) assert.ok((await client.expects('draining')).deadline_ms > 0);
      const health = await fetch(`${one.url}health`);
      assert.equal(health.status, 503);

      let refused = 0;
      const connectNew = () => TestClient.connect(front.ws).catch((error) => {
        if (!(error instanceof UpgradeRefused)) throw error;
        assert.equal(error.status, 503);
        assert.ok(error.headers['retry-after'] !== undefined, 'a Retry-After field');
        refused += 1;
      });
      const first = await eventually(connectNew, (client) => client !== undefined, 'an accepted connection');
      assert.equal(serverOf(first), 'stun:two');
      // nginx tries the next server at once; HAProxy waits for the next health check.
      if (kind.name === 'nginx') assert.equal(refused, 0);
      assert.equal((await get(`${front.url}health`)).status, 200);
      const young = await connectPair(front);
      assert.deepEqual(young.map(serverOf), Array(2).fill('stun:two'));
      await signal(...young);

      // The call on the draining server still works.
      await signal(...old);
      await idle.until(() => idle.closed !== null, 'the close of the idle session', 40_000);
      assert.equal(idle.closed, 1012);
      await signal(...old);
      await old[0].leaveRoom();
      assert.equal((await old[1].expects('peer_left')).reason, 'left');
      await Promise.all(old.map((client) => client.close()));
      await down;

      await signal(...(await connectPair(front)));
      await one.up();
      const back = await eventually(connectNew, (client) => client !== undefined && serverOf(client) === 'stun:one', 'a connection to the first server');
      await signal(...young);
      await Promise.all([first, back, ...young].map((client) => client.close()));
    });
  });

  describe(`${kind.name} and idle WebSockets`, LIMIT, () => {
    test('pings of the server keep an idle connection open', LIMIT, async (t) => {
      const front = await behind(t, '4s', '--ping-interval', '1s', '--silence-limit', '60s');
      const client = await TestClient.connect(front.ws);
      await client.until(() => client.pings >= 9, 'nine pings', 60_000);
      client.send('ping', 'still here');
      assert.equal(await client.expects('pong'), 'still here');
      await client.close();
    });

    test('without pings the idle timeout closes the connection', LIMIT, async (t) => {
      const front = await behind(t, '1s');
      const client = await TestClient.connect(front.ws);
      await client.until(() => client.closed !== null, 'the end');
      assert.equal(client.pings, 0);
    });

    async function behind(t, idle, ...args) {
      const server = await Server.start(...args);
      t.after(() => server.down());
      return fronted(t, kind, server.port, { idle });
    }
  });

  test(`${kind.name} forwards the user's address and not a forged one`, LIMIT, async (t) => {
    const server = http.createServer((request, response) => {
      response.setHeader('connection', 'close');
      response.end(JSON.stringify(request.headers));
    });
    const front = await fronted(t, kind, await listening(t, server));
    const forged = { 'X-Forwarded-For': '203.0.113.7', 'X-Forwarded-Proto': 'http' };
    const seen = JSON.parse((await get(front.url, forged)).body);
    assert.deepEqual([seen['x-forwarded-for'], seen['x-forwarded-proto']], ['127.0.0.1', 'https']);
  });
}

/** Shows by a limit per address that the server sees the user's address. */
async function limitsEachAddress(t, kind, also = []) {
  const server = await Server.start('--trusted-proxy', '127.0.0.1', '--max-connections-per-address', '2');
  t.after(() => server.down());
  const front = await fronted(t, kind, server.port, { also });
  const from = (last) => TestClient.connect(front.ws, {
    localAddress: `127.0.0.${last}`,
    headers: { 'X-Forwarded-For': '203.0.113.7' },
  });
  const users = [];
  for (const last of [2, 2, 3, 3, 4]) users.push(await from(last));
  for (const last of [2, 3]) {
    await assert.rejects(from(last), (error) => error instanceof UpgradeRefused && error.status === 429);
  }
  // Other addresses are not affected, and the proxy's own address has no limit.
  users.push(await from(4), await from(5));
  const { http: { rejected } } = JSON.parse((await get(`${front.url}stats`)).body);
  assert.ok(rejected.address_limit >= 2);
  assert.equal(rejected.proxy_header + rejected.untrusted_proxy + rejected.bad_request, 0);
  const two = await Promise.all(users.slice(1, 3).map((user) => user.findMatch()));
  await signal(...two);
  await users[0].close();
  const again = await eventually(() => from(2).catch(() => undefined), (client) => client !== undefined, 'a free place for the address');
  await Promise.all([again, ...users.slice(1)].map((user) => user.close()));
}

for (const kind of KINDS) {
  test(`${kind.name} keeps an address above its limit on the server where all others are`, LIMIT, async (t) => {
    const limits = ['--trusted-proxy', '127.0.0.1', '--max-connections-per-address', '2'];
    const servers = await Promise.all(
      ['one', 'two'].map((name) => Server.start('--ice-server', `stun:${name}`, ...limits)),
    );
    t.after(() => Promise.all(servers.map((server) => server.down())));
    const front = await Front.start(kind, servers.map(({ port }) => port));
    t.after(() => front.stop());
    const from = (last) => TestClient.connect(front.ws, { localAddress: `127.0.0.${last}` });
    const users = [await from(2), await from(2)];
    for (let time = 0; time < 20; time += 1) {
      await assert.rejects(from(2), (error) => error instanceof UpgradeRefused && error.status === 429
        && error.headers['retry-after'] !== undefined);
    }
    // The server was healthy all the time, so it gets the others.
    for (let last = 3; last < 9; last += 1) users.push(await from(last));
    assert.deepEqual([...new Set(users.map(serverOf))], ['stun:one']);
    const { http: { rejected }, sessions } = await (await fetch(`${servers[1].url}stats`)).json();
    assert.deepEqual([sessions.opened, rejected.address_limit], [0, 0], 'the second server was never asked');
    await Promise.all(users.map((user) => user.close()));
  });

  test(`${kind.name} sends the user's address in X-Forwarded-For`, LIMIT, (t) => limitsEachAddress(t, kind));
}

test('HAProxy sends the address in a PROXY protocol header, health checks included', LIMIT, (t) => limitsEachAddress(t, KINDS[0], [
  ['default_backend switchboard\n', 'default_backend switchboard_proxy_protocol\n'],
  // Only the PROXY header carries the address.
  ['    http-request set-header X-Forwarded-For %[src]\n', ''],
]));

/** A proxy in front of one server, for one test. */
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

/** Parses a PROXY protocol header, version 2, and answers with the user's address. */
function proxyProtocolServer() {
  return net.createServer((socket) => {
    let bytes = Buffer.alloc(0);
    socket.on('error', () => {});
    socket.on('data', (chunk) => {
      bytes = Buffer.concat([bytes, chunk]);
      if (bytes.length < 16 || !bytes.includes('\r\n\r\n', 16 + bytes.readUInt16BE(14))) return;
      const signed = bytes.subarray(0, 12).equals(Buffer.from('\r\n\r\n\0\r\nQUIT\n', 'latin1'));
      // 0x21: version 2, PROXY. 0x20 is LOCAL, a health check. 0x11: TCP over IPv4.
      const body = signed && bytes[12] === 0x21 && bytes[13] === 0x11
        ? `${bytes.subarray(16, 20).join('.')}:${bytes.readUInt16BE(24)}`
        : `signed: ${signed}, command: ${bytes[12]}`;
      socket.end(`HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: ${body.length}\r\n\r\n${body}`);
    });
  });
}

test('HAProxy sends a PROXY protocol header in the backend that is for it', LIMIT, async (t) => {
  const front = await fronted(t, KINDS[0], await listening(t, proxyProtocolServer()), {
    also: [['default_backend switchboard\n', 'default_backend switchboard_proxy_protocol\n']],
  });
  const { body, localPort } = await get(front.url);
  assert.equal(body, `127.0.0.1:${localPort}`);
});
