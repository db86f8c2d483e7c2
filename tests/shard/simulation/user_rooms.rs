//! What a virtual user receives of its rooms: the partner, its messages, and the end.

use super::pending_requests::{Request, RoomReference};
use super::session_model::{ExitReason, SessionModel};
use super::user::{Membership, User, UserContext, View};

impl User {
    pub(super) fn match_found(
        &mut self,
        room: &str,
        peer: &str,
        initiator: bool,
        end: u64,
        context: &mut UserContext<'_>,
    ) {
        let View::Waiting(queue) = &self.view else {
            panic!("{} is matched without waiting: {:?}", self.id, self.view);
        };
        let member = SessionModel::member(self.id, peer.to_owned(), initiator, queue.clone(), end);
        context.session_model.found(room, member, context.shared);
        context.shared.counts.count("user: match found");
        // Requests that were sent before match_found may end the room before any message.
        for pending in &self.pending {
            let exit = match pending.request {
                Request::Find(_) => ExitReason::Next,
                Request::Leave(RoomReference::Absent) | Request::Close => ExitReason::Left,
                _ => continue,
            };
            let exits = context.session_model.exits.entry((self.id, room.to_owned())).or_default();
            exits.push((exit, 0));
        }
        let peer = context.session_model.user_of(peer);
        self.rooms_since.push(room.to_owned());
        self.view =
            View::InRoom(Membership { room: room.to_owned(), peer, sent: 0, got: 0, last: None });
    }

    pub(super) fn peer_left(
        &mut self,
        room: &str,
        reason: &str,
        end: u64,
        context: &mut UserContext<'_>,
    ) {
        let View::InRoom(membership) = &self.view else {
            panic!("{} gets peer_left of {room} as {:?}", self.id, self.view);
        };
        assert_eq!(membership.room, room, "peer_left of another room");
        context.session_model.peer_left(room, self.id, end);
        let exit = match reason {
            "left" => ExitReason::Left,
            "next" => ExitReason::Next,
            "disconnected" => ExitReason::Gone,
            "timeout" => {
                context.shared.check_lost(membership.peer);
                ExitReason::Gone
            }
            _ => panic!("an unknown reason: {reason}"),
        };
        context.shared.counts.count(match exit {
            ExitReason::Left => "peer_left: left",
            ExitReason::Next => "peer_left: next",
            ExitReason::Gone => "peer_left: disconnected",
        });
        self.check_complete(membership, exit, context);
        self.previous_room = Some(room.to_owned());
        self.view = View::Idle;
    }

    /// Checks that all messages that the partner sent before it left have arrived.
    fn check_complete(&self, membership: &Membership, exit: ExitReason, context: &UserContext<'_>) {
        let (session_model, shared) = (&*context.session_model, &*context.shared);
        // Messages to a client that reads slowly may have been refused.
        let was_slow = shared.connections[self.id].was_blocked_once();
        if shared.plan.limits.max_messages_per_second.is_some() || was_slow {
            return;
        }
        let knew = session_model.rooms[&membership.room].member(membership.peer).is_some();
        let exits = session_model.exits.get(&(membership.peer, membership.room.clone()));
        let mut exits = exits.into_iter().flatten();
        let complete =
            exits.any(|left| *left == (exit, membership.got)) || !knew && membership.got == 0;
        let connection = &shared.connections[membership.peer];
        let whole = exit != ExitReason::Gone || {
            // There is no guarantee if the partner's connection ended for another reason.
            let silent = connection.longest_silence.max(shared.now.since(connection.last_read));
            let was_silent = silent >= shared.plan.limits.silence_limit;
            connection.end_read
                && !connection.broken
                && !connection.was_blocked_once()
                && !shared.plan.drains
                && !was_silent
        };
        if whole && exit == ExitReason::Gone && exits.next().is_none() && !complete {
            return;
        }
        assert!(complete || !whole, "{} lacks messages: {membership:?}, {exit:?}", self.id);
    }

    pub(super) fn relayed(&mut self, text: &[u8], context: &mut UserContext<'_>) {
        let View::InRoom(membership) = &mut self.view else {
            panic!("{} gets a message as {:?}", self.id, self.view);
        };
        let whole = String::from_utf8_lossy(text);
        let number = |name: &str| -> usize {
            let at = whole.find(name).expect("every message names its sender") + name.len();
            let digits: String = whole[at..].chars().take_while(char::is_ascii_digit).collect();
            digits.parse().expect("a number")
        };
        let (from, nth) = (number("\"from\":"), number("\"n\":"));
        assert_eq!(from, membership.peer, "{} gets a message from another user", self.id);
        let relay = &context.session_model.relays[from][nth];
        assert_eq!(relay.text, text, "a message was changed");
        assert!(
            membership.last.is_none_or(|last| last < nth),
            "{nth} arrives after {:?}",
            membership.last
        );
        membership.last = Some(nth);
        if let Some(sent_before) = relay.nth {
            let gaps = context.shared.plan.limits.max_messages_per_second.is_some()
                || context.shared.connections[self.id].was_blocked_once();
            assert!(gaps || sent_before == membership.got, "{} lacks messages of {from}", self.id);
            membership.got = sent_before + 1;
        }
        context.session_model.delivered(&membership.room, from, nth, context.shared);
        context.shared.counts.count("user: relayed to");
    }
}
