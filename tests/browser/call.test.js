/** What a call sends and keeps, with an RTCPeerConnection that the test controls. Runs without a browser. */

import assert from 'node:assert/strict';
import { afterEach, beforeEach, describe, test } from 'node:test';
import { Call } from '../../src/page/web/call.js';

const CHANNEL = Object.assign(new EventTarget(), { readyState: 'connecting' });

class PeerConnection extends EventTarget {
  static last;
  signalingState = 'stable';
  localDescription = null;
  remoteDescription = null;
  added = [];

  constructor() {
    super();
    PeerConnection.last = this;
  }

  addTrack() {
    return { replaceTrack: async () => {} };
  }

  createDataChannel = () => CHANNEL;
  getTransceivers = () => [];
  addIceCandidate = async (candidate) => this.added.push(candidate);

  async setRemoteDescription(description) {
    this.remoteDescription = description;
  }

  /** Pending until the test continues it. */
  setLocalDescription() {
    return new Promise((resolve) => (this.describe = resolve));
  }

  close() {}
}

describe('a call', () => {
  let sent;

  beforeEach(() => {
    sent = [];
    globalThis.RTCPeerConnection = PeerConnection;
    globalThis.MediaStream = class {};
  });

  afterEach(() => {
    delete globalThis.RTCPeerConnection;
    delete globalThis.MediaStream;
  });

  const begin = (initiator) =>
    new Call({
      initiator,
      iceServers: () => [],
      relayOnly: false,
      track: {},
      muted: false,
      send: (type) => sent.push(type),
    });

  const settled = () => new Promise((resolve) => setImmediate(resolve));

  for (const closes of [false, true]) {
    test(`${closes ? 'that has ended sends no' : 'sends its'} offer and answer`, async () => {
      const calls = [true, false].map((initiator) => {
        const call = begin(initiator);
        const pc = PeerConnection.last;
        if (initiator) pc.dispatchEvent(new Event('negotiationneeded'));
        else call.receive('offer', { sdp: '' });
        return { call, pc };
      });
      await settled();
      for (const { call, pc } of calls) {
        if (closes) call.close('next');
        pc.describe();
      }
      await settled();
      assert.deepEqual(sent, closes ? [] : ['offer', 'answer']);
    });
  }

  test('keeps a bounded number of candidates that come before their description', async () => {
    const call = begin(false);
    for (let nth = 0; nth < 1_000; nth += 1) call.receive('ice_candidate', { candidate: String(nth) });
    call.receive('offer', { sdp: '' });
    await settled();
    assert.equal(PeerConnection.last.added.length, 64);
  });
});
