/** Asks a TURN server whether it serves (RFC 8489). */

import dgram from 'node:dgram';

/**
 * Repeats a STUN binding request (RFC 8489 section 5) until it is answered.
 * Rejects after `limitMs`.
 */
export async function answersStun(port, limitMs = 10_000) {
  const request = Buffer.alloc(20);
  request.writeUInt16BE(1, 0);
  request.writeUInt32BE(0x2112a442, 4);
  const socket = dgram.createSocket('udp4');
  let ask;
  let limit;
  try {
    await new Promise((resolve, reject) => {
      // A port without a socket answers with ICMP, which is an 'error' of this one. events.once()
      // would reject on it, but the server may only not have started yet.
      socket.on('error', () => {});
      socket.once('message', resolve);
      socket.connect(port, '127.0.0.1');
      ask = setInterval(() => socket.send(request, () => {}), 50);
      limit = setTimeout(() => reject(new Error(`port ${port} answers no STUN request`)), limitMs);
    });
  } finally {
    clearInterval(ask);
    clearTimeout(limit);
    socket.close();
  }
}
