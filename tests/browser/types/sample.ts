/** A small client in TypeScript. It is compiled against the declarations and not run. */

import { type ClientEvents, type Room, SwitchboardClient } from '../../../src/wire/contract/client.js';
import type {
  ClientMessage,
  ErrorCode,
  LeaveReason,
  ServerMessage,
} from '../../../src/wire/contract/messages.js';

const client = new SwitchboardClient('wss://talk.example/ws', { silenceMs: 10_000 });

client.addEventListener('match', ({ detail }) => {
  const room: Room = detail;
  const peer = new RTCPeerConnection({ iceServers: client.iceServers });
  peer.addEventListener('icecandidate', ({ candidate }) => client.signal('ice_candidate', candidate));
  if (room.initiator) client.signal('offer', { type: 'offer', sdp: 'v=0' });
});
client.addEventListener('relay', ({ detail: { type, payload } }) => {
  // @ts-expect-error: the payload is untrusted and has no type.
  if (type === 'answer') console.log(payload.sdp);
});
client.addEventListener('peer_left', ({ detail }) => {
  if (detail.reason !== 'removed') client.findMatch('en');
});
client.addEventListener('refused', ({ detail }) => console.warn(detail.code, detail.message));
client.connect();
client.findMatch();
// @ts-expect-error: not a relayed type.
client.signal('ping', null);
// @ts-expect-error: read only.
client.status = 'open';

/** A client without `client.js`: every message of the server is handled, and the compiler knows it. */
export function handle(message: ServerMessage): string | ErrorCode | LeaveReason | undefined {
  switch (message.type) {
    case 'session':
      return message.payload.session_id;
    case 'waiting':
      return message.payload.queue;
    case 'match_found':
      return message.payload.peer_id;
    case 'match_cancelled':
      return undefined;
    case 'room_left':
      return message.payload.room_id;
    case 'peer_left':
      return message.payload.reason;
    case 'pong':
      return undefined;
    case 'error':
      return message.payload.code;
    case 'draining':
      return String(message.payload.deadline_ms);
    case 'offer':
    case 'answer':
    case 'ice_candidate':
    case 'signal':
      return message.room_id ?? undefined;
    default:
      return message satisfies never;
  }
}

export const messages: ClientMessage[] = [
  { type: 'find_match' },
  { type: 'find_match', payload: { queue: 'en' } },
  { type: 'signal', room_id: 'Q6UBtzG5vQbPuFoiYRrQ4w', payload: [1, 'a'] },
  // @ts-expect-error: only the server sends it.
  { type: 'waiting', payload: { queue: 'en' } },
];

export type Names = keyof ClientEvents;
