/**
 * Declarations of the protocol client, `src/page/web/client.js` with its part `connection.js`. Copy
 * this file and `messages.d.ts` beside them to use the client from TypeScript.
 */

import type {
  ClientMessage,
  ErrorCode,
  Identifier,
  LeaveReason,
  PlannedErrorCode,
  PlannedLeaveReason,
  QueueName,
  RelayType,
} from './messages.js';

export type Status = 'closed' | 'connecting' | 'open' | 'retrying';

/** The state of the session that the server last confirmed; `unknown` without a connection. */
export type Confirmed = 'unknown' | 'idle' | 'waiting' | 'in_room';

export interface Room {
  roomId: Identifier;
  peerId: Identifier;
  /** Whether this side sends the offer. */
  initiator: boolean;
}

export interface ClientOptions {
  /** For runtimes that have no WebSocket of their own. */
  WebSocket?: typeof WebSocket;
  /** A number in [0, 1); default `Math.random`. */
  random?: () => number;
  /** Longest wait before the second new attempt, doubled by each failure; default 500. The first is made at once. */
  backoffFirstMs?: number;
  /** Longest wait before any new attempt; default 5,000. */
  backoffMostMs?: number;
  /** Time for each step of opening a connection, doubled by each failure; default 12,000. */
  openFirstMs?: number;
  /** Longest time for each step of opening a connection; default 60,000. */
  openMostMs?: number;
  /** Time after which an unanswered request is followed by a `ping`; default 5,000. */
  answerMs?: number;
  /** Silence after which a `ping` is sent; default 20,000. */
  silenceMs?: number;
  /** Further silence after which the connection is taken for dead; default 8,000. */
  pongMs?: number;
}

export interface SessionDetails {
  sessionId: Identifier;
  iceServers: RTCIceServer[];
  /** Whether the server asks for `iceTransportPolicy: "relay"`. */
  relayOnly: boolean;
  resumed: boolean;
}

export interface Refusal {
  code: ErrorCode | PlannedErrorCode;
  message: string;
  /** The type of the refused message, if it is known. */
  refused?: ClientMessage['type'];
  /** When the client repeats the request, in milliseconds since 1970. */
  retryAt?: number;
}

/** The events of the client: their names, and the type of `detail` of each. */
export interface ClientEvents {
  /** With `retrying` only: `retryAt` in milliseconds since 1970, the close `code`, and whether it had `opened`. */
  status: { status: Status; retryAt?: number; code?: number; opened?: boolean };
  /** First on every connection. */
  session: SessionDetails;
  /** At each change. */
  confirmed: { confirmed: Confirmed };
  waiting: { queue: QueueName; expected_wait_ms?: number };
  match: Room;
  /** From the partner; the payload is untrusted. */
  relay: { type: RelayType; payload: unknown };
  peer_left: { roomId: Identifier; reason: LeaveReason | PlannedLeaveReason };
  /** The partner's connection was lost and may come back; from later servers only. */
  peer_away: { roomId: Identifier };
  /** The partner is connected again; restart ICE. From later servers only. */
  peer_back: { roomId: Identifier };
  /** This client was away for too long, the server was restarted, or this session waits again. */
  room_lost: { roomId: Identifier };
  /** The server's `error`, except those of messages that crossed. */
  refused: Refusal;
  draining: { deadlineMs: number };
}

export class SwitchboardClient extends EventTarget {
  /** @param url of the WebSocket endpoint, such as `wss://talk.example/ws`. */
  constructor(url: string | URL, options?: ClientOptions);

  /** The present room. */
  room: Room | null;
  /** As the last `session` or `match_found` gave them. */
  iceServers: RTCIceServer[];
  /** Whether the server asks for `iceTransportPolicy: "relay"`. */
  relayOnly: boolean;
  /** Whether the server has announced that it shuts down. */
  draining: boolean;
  get status(): Status;
  get confirmed(): Confirmed;
  /** The queue in which the session waits, as the server last confirmed it; null, it does not wait. */
  get queue(): string | null;

  /** Connects, and stays connected until `close`. */
  connect(): void;
  /** Ends the session at once; the partner, if there is one, is told. */
  close(): void;
  /** Postpones the next attempt to reconnect by at least this time. */
  retryAfter(ms: number): void;
  /** Asks for a partner; in a room, for the next one. Repeated after a reconnect. */
  findMatch(queue?: QueueName): void;
  /** Takes `findMatch` back. */
  cancelMatch(): void;
  /** Leaves the room, if there is one. */
  leaveRoom(): void;
  /** Sends to the partner. False without a connection, and outside the room, by default the present one. */
  signal(type: RelayType, payload: unknown, roomId?: Identifier): boolean;

  addEventListener<K extends keyof ClientEvents>(
    type: K,
    listener: (event: CustomEvent<ClientEvents[K]>) => void,
    options?: boolean | AddEventListenerOptions,
  ): void;
  addEventListener(
    type: string,
    listener: EventListenerOrEventListenerObject | null,
    options?: boolean | AddEventListenerOptions,
  ): void;
  removeEventListener<K extends keyof ClientEvents>(
    type: K,
    listener: (event: CustomEvent<ClientEvents[K]>) => void,
    options?: boolean | EventListenerOptions,
  ): void;
  removeEventListener(
    type: string,
    listener: EventListenerOrEventListenerObject | null,
    options?: boolean | EventListenerOptions,
  ): void;
}
