/**
 * The messages of the Switchboard wire contract, version 2 (`src/wire/PROTOCOL.md`), for
 * TypeScript.
 *
 * Types whose names begin with `Planned` belong to parts that are planned and not implemented. A
 * client that handles them works with later servers too. Later versions may add members, message
 * types and values: ignore those that are not listed.
 */

/** 128 unguessable bits as 22 characters of base64url. Compare for equality only. */
export type Identifier = string;

/** 1 to 64 characters of `A-Z a-z 0-9 _ . : -`. */
export type QueueName = string;

export type RelayType = 'offer' | 'answer' | 'ice_candidate' | 'signal';

/** Why the other member of a room is gone. */
export type LeaveReason = 'left' | 'next' | 'disconnected' | 'timeout';
export type PlannedLeaveReason = 'removed';

/** Why a message was refused. */
export type ErrorCode =
  | 'bad_json'
  | 'bad_message'
  | 'unknown_type'
  | 'bad_queue'
  | 'not_in_room'
  | 'not_waiting'
  | 'rate_limited'
  | 'too_many_matches'
  | 'peer_busy'
  | 'draining';
export type PlannedErrorCode = 'bad_tags';

/** The close codes that the server sends. */
export type CloseCode = 1000 | 1001 | 1002 | 1007 | 1008 | 1009 | 1012 | 1013;
export type PlannedCloseCode = 1011 | 4001 | 4003;

/** Structurally an `RTCIceServer` of WebRTC 1.0, for clients without the DOM types. */
export interface IceServer {
  urls: string[];
  username?: string;
  credential?: string;
}

/* Client to server. */

export interface FindMatch {
  type: 'find_match';
  payload?: { queue?: QueueName | null } | null;
}

export interface CancelMatch {
  type: 'cancel_match';
}

/** A message for the partner, and what the partner receives. */
export interface Relayed {
  type: RelayType;
  /** The present room. With it, a late message cannot reach the next partner. */
  room_id?: Identifier | null;
  payload?: unknown;
}

export interface LeaveRoom {
  type: 'leave_room';
  room_id?: Identifier | null;
}

export interface Ping {
  type: 'ping';
  payload?: unknown;
}

export type ClientMessage = FindMatch | CancelMatch | Relayed | LeaveRoom | Ping;

export interface PlannedReport {
  type: 'report';
  payload: { room_id: Identifier; reason: 'abuse' | 'spam' | 'minor' | 'other'; note?: string };
}

export interface PlannedBlock {
  type: 'block';
  payload: { room_id: Identifier };
}

export type PlannedClientMessage = PlannedReport | PlannedBlock;

/* Server to client. */

export interface Session {
  type: 'session';
  payload: {
    session_id: Identifier;
    ice_servers: IceServer[];
    /** Present if it is true: use `iceTransportPolicy: 'relay'`. */
    relay_only?: true;
    resumed: boolean;
  };
}

export interface Waiting {
  type: 'waiting';
  payload: {
    queue: QueueName;
    /** How long a user has to wait in this queue, if there is an estimate. */
    expected_wait_ms?: number;
  };
}

export interface MatchFound {
  type: 'match_found';
  payload: {
    room_id: Identifier;
    peer_id: Identifier;
    initiator: boolean;
    /** In place of those of `session`; absent if those are still valid. */
    ice_servers?: IceServer[];
  };
}

export interface MatchCancelled {
  type: 'match_cancelled';
}

export interface RoomLeft {
  type: 'room_left';
  payload: { room_id: Identifier };
}

export interface PeerLeft {
  type: 'peer_left';
  payload: { room_id: Identifier; reason: LeaveReason };
}

export interface Pong {
  type: 'pong';
  payload?: unknown;
}

export interface ServerError {
  type: 'error';
  payload: {
    code: ErrorCode;
    message: string;
    /** The type of the refused message, if it is one that clients send. */
    refused?: ClientMessage['type'];
    /** After this time the same message may be accepted. */
    retry_after_ms?: number;
  };
}

export interface Draining {
  type: 'draining';
  payload: { deadline_ms: number };
}

export type ServerMessage =
  | Session
  | Waiting
  | MatchFound
  | MatchCancelled
  | RoomLeft
  | PeerLeft
  | Relayed
  | Pong
  | ServerError
  | Draining;

export interface PlannedServerMessage {
  type: 'peer_away' | 'peer_back' | 'reported' | 'blocked';
  payload: { room_id: Identifier };
}
