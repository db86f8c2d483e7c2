//! The times and counts that are measured, with their names in reports and targets. Pure.

indexed_enum! {
    /// Times that are measured, in microseconds.
    TimeMetric {
        /// From the planned arrival of a user to its `session` message.
        Connect = "connect",
        /// From the actual start of the connection to the `session` message.
        ConnectService = "connect_service",
        /// From the planned time of a match request to `match_found`.
        Match = "match",
        /// From the sending of a match request to `match_found`.
        MatchService = "match_service",
        /// From the planned time of a message to its arrival at the partner.
        Relay = "relay",
        /// From the sending of a message to its arrival: what server and network took.
        RelayService = "relay_service",
        /// From the planned time of a `ping` to its `pong`.
        Ping = "ping",
        /// From the sending of a `ping` to its `pong`.
        PingService = "ping_service",
        /// From the planned time of a request to the end of the answer.
        Http = "http",
        /// From the time when a request could be sent, to the end of the answer.
        HttpService = "http_service",
        /// How late the generator started what was planned.
        Late = "late",
    }
}

indexed_enum! {
    /// Events that are counted.
    CountMetric {
        /// Users that should have arrived by now.
        Arrivals = "arrivals",
        /// Users that received their `session` message.
        Connected = "connected",
        /// Connections that never became a session.
        ConnectFailed = "connect_failed",
        /// Sessions that the tester ended as planned.
        ClosedAsPlanned = "ended_well",
        /// Sessions that had answered every ping when the run ended.
        Alive = "alive",
        /// `find_match` messages.
        Asked = "asked",
        /// `match_found` messages that answer a `find_match`.
        Matched = "matched",
        /// Users that waited too long while another user did too, or was matched before them.
        Unmatched = "unmatched",
        /// Calls that reached their planned end.
        CallsCompleted = "calls_done",
        /// Calls that ended because the partner's connection did.
        CallsInterrupted = "calls_cut",
        /// Relayed messages sent.
        Sent = "sent",
        /// Relayed messages that arrived at the right partner, each counted once.
        Received = "received",
        /// Messages from a room that arrived between leaving it and the server's answer.
        ReceivedWhileLeaving = "tail",
        /// Messages whose sender or receiver had left before they could arrive.
        UnderWay = "under_way",
        /// Pings sent.
        Pings = "pings",
        /// Pongs received.
        Pongs = "pongs",
        /// HTTP requests that should have been sent by now.
        HttpDue = "http_due",
        /// HTTP answers with status 200.
        HttpOk = "http_ok",
        /// HTTP requests without such an answer.
        HttpFailed = "http_failed",
        /// Planned events that were started: arrivals, match requests, messages, pings, requests.
        Starts = "starts",
        /// Starts that were later than allowed.
        LateStarts = "late_starts",
        /// Bytes read from sockets.
        BytesIn = "bytes_in",
        /// Bytes written to sockets.
        BytesOut = "bytes_out",
        /// Match requests that were withdrawn with `cancel_match`.
        Withdrawn = "withdrawn",
        /// Users that left because they had waited too long for their own patience.
        GaveUp = "gave_up",
        /// Users that ended their session on purpose without a Close frame.
        Vanished = "vanished",
        /// Arrivals of users that had left before.
        Returned = "returned",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_metric_is_found_by_its_name() {
        for metric in TimeMetric::ALL {
            assert_eq!(TimeMetric::from_name(metric.name()), Some(*metric));
        }
        for count in CountMetric::ALL {
            assert_eq!(CountMetric::from_name(count.name()), Some(*count));
        }
    }
}
