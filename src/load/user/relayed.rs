//! How a user checks relayed messages: for corruption, routing, order and latency. Pure.

use super::{STRAGGLER_TIMEOUT, User, UserContext, UserEvent, UserState, send_message};
use crate::load::measure::{CountMetric, LoadFault, TimeMetric};
use crate::load::message_header::DecodedMessage;
use crate::load::sequence_tracker::SequenceStatus;
use crate::wire::message::RelayKind;

impl User {
    /// Checks a relayed message.
    pub(super) fn on_relayed(&mut self, message: DecodedMessage, context: &mut UserContext<'_>) {
        let UserState::InRoom(call) = &mut self.state else {
            return self.on_relayed_outside_room(message, context);
        };
        let header = match message {
            DecodedMessage::Intact(header) => header,
            DecodedMessage::Corrupted => {
                call.received.record_unreadable();
                return context.recorder.record_fault(LoadFault::Corrupted, context.now);
            }
        };
        if header.room != call.room {
            return self.report_stray(header.room, context);
        }
        if header.sender != call.peer {
            return context.recorder.record_fault(LoadFault::Misrouted, context.now);
        }
        match call.received.record(header.sequence) {
            SequenceStatus::Duplicated => {
                return context.recorder.record_fault(LoadFault::Duplicated, context.now);
            }
            SequenceStatus::Reordered => {
                context.recorder.record_fault(LoadFault::Reordered, context.now);
            }
            SequenceStatus::New => {}
        }
        context.recorder.count(CountMetric::Received);
        // At the end of the run all users send their final messages at once. This load is not part
        // of the plan and is not measured; messages sent before count, however late they arrive.
        let ends_the_run = header.last && self.finishing;
        if header.intended >= context.rules.measure_from && !ends_the_run {
            context.recorder.record_between(TimeMetric::Relay, header.intended, context.now);
            context.recorder.record_between(TimeMetric::RelayService, header.sent, context.now);
        }
        call.gaps_expected |= header.gaps_expected;
        if header.last {
            call.final_received = true;
            self.on_final_message(context);
        } else if call.sequence == 0 {
            call.on_offer(context.now);
        }
    }

    /// The partner sends nothing more: replies with the own final message, or leaves.
    fn on_final_message(&mut self, context: &mut UserContext<'_>) {
        let UserState::InRoom(call) = &mut self.state else { return };
        let is_missing_messages = call.received.missing() > 0 && !call.gaps_expected;
        if call.final_sent_at.is_none() {
            send_message(call, self.session, RelayKind::Signal, context.now, true, context);
            // The initiator leaves; this is only for the case that it cannot.
            call.leave_at = context.now + context.rules.message_timeout * 2;
        }
        if call.initiator {
            call.leave_at =
                if is_missing_messages { context.now + STRAGGLER_TIMEOUT } else { context.now };
            if !is_missing_messages {
                self.leave_room(context);
            }
        }
    }

    fn on_relayed_outside_room(&mut self, message: DecodedMessage, context: &mut UserContext<'_>) {
        let DecodedMessage::Intact(header) = message else {
            return context.recorder.record_fault(LoadFault::Corrupted, context.now);
        };
        let leave_is_unanswered = matches!(
            self.state,
            UserState::Waiting { acknowledged: false, .. }
                | UserState::Leaving { .. }
                | UserState::Closing { .. }
                | UserState::Vanished(_)
        );
        if header.room == self.last_room && leave_is_unanswered && !self.last_room_ended {
            context.recorder.count(CountMetric::ReceivedWhileLeaving);
        } else if header.room != self.last_room && matches!(self.state, UserState::Waiting { .. }) {
            if self.early_messages.0 != header.room {
                self.report_early_messages(context);
                self.early_messages.0 = header.room;
            }
            self.early_messages.1 += 1;
        } else {
            self.report_stray(header.room, context);
        }
    }

    /// Reports the messages that arrived while waiting and were not from the room that followed.
    pub(super) fn report_early_messages(&mut self, context: &mut UserContext<'_>) {
        let (room, many) = std::mem::take(&mut self.early_messages);
        (0..many).for_each(|_| self.report_stray(room, context));
    }

    /// Reports a message from a room that the user is not in, or no longer in.
    fn report_stray(&self, room: u64, context: &mut UserContext<'_>) {
        let after_end = room == self.last_room;
        let fault = if after_end { LoadFault::AfterEnd } else { LoadFault::Misrouted };
        context.events.push(UserEvent::StrayMessage { room, fault });
    }
}
