//! The work of one iteration is bounded, and connections that send without pause take no more than
//! their share of it.

use super::harness::{KEY, READABLE, ScriptedConnection, ShardHarness, text, upgrade};
use std::time::Duration;
use switchboard::config::Limits;
use switchboard::limits::{
    EVENT_BYTES_PER_ITERATION, MIN_EVENT_BYTES, READS_PER_ITERATION, RECEIVE_BUFFER_BYTES,
    REQUESTS_PER_ITERATION, RUN_LIST_BYTES_PER_ITERATION, TOTAL_REQUESTS_PER_ITERATION,
};
use switchboard::timestamp::Timestamp;
use switchboard::wire::websocket::frame::{TEXT, push_client_frame};

#[test]
fn answers_a_bounded_number_of_requests_in_one_iteration() {
    let mut harness = ShardHarness::new(Limits::default());
    let requests = b"GET /health HTTP/1.1\r\nHost: h\r\n\r\n".repeat(1000);
    let reads = [requests].into();
    let (number, key) =
        harness.connect(ScriptedConnection { reads, ..ScriptedConnection::default() });
    harness.core.handle_event(key, READABLE);
    let answered = |harness: &mut ShardHarness| {
        let sent = &harness.fake(number).sent;
        sent.windows(8).filter(|part| part == b"HTTP/1.1").count()
    };
    assert_eq!(answered(&mut harness), REQUESTS_PER_ITERATION as usize);
    let mut iterations = 1;
    while harness.core.has_work() {
        let before = answered(&mut harness);
        harness.wait(Duration::ZERO);
        let most = (READS_PER_ITERATION * REQUESTS_PER_ITERATION) as usize;
        assert!(answered(&mut harness) - before <= most, "in one iteration");
        iterations += 1;
        assert!(iterations < 1000, "the run ends");
    }
    assert_eq!(answered(&mut harness), 1000);
}

#[test]
fn answers_at_least_one_request_per_connection_when_the_total_budget_is_used_up() {
    const CLIENTS: usize = 200;
    let mut harness = ShardHarness::new(Limits::default());
    let requests = b"HEAD /health HTTP/1.1\r\nHost: h\r\n\r\n".repeat(16);
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| {
            harness.connect(ScriptedConnection {
                reads: [requests.clone()].into(),
                ..ScriptedConnection::default()
            })
        })
        .collect();
    let answered = |harness: &ShardHarness| harness.counters.http_requests.get() as usize;
    harness.wait(Duration::ZERO);
    harness.core.share_among(CLIENTS);
    for (_, key) in &clients {
        harness.core.handle_event(*key, READABLE);
    }
    let most = TOTAL_REQUESTS_PER_ITERATION as usize + CLIENTS;
    assert!((CLIENTS..=most).contains(&answered(&harness)), "{} at once", answered(&harness));
    while harness.core.has_work() {
        let before = answered(&harness);
        harness.wait(Duration::ZERO);
        let most = TOTAL_REQUESTS_PER_ITERATION as usize + 4;
        assert!((1..=most).contains(&(answered(&harness) - before)), "in one iteration");
    }
    assert_eq!(answered(&harness), 16 * CLIENTS);
    harness.audit();
}

#[test]
fn a_large_message_waits_for_one_share_of_each_flooding_connection() {
    const FLOODERS: usize = 500;
    let mut harness = ShardHarness::new(Limits::default());
    let [one, other] = harness.room();
    let flood = text(r#"{"type":"ping"}"#).repeat(RECEIVE_BUFFER_BYTES / 16);
    let flooders: Vec<_> = (0..FLOODERS).map(|_| harness.session()).collect();
    for (number, key) in &flooders {
        harness.fake(*number).endless = Some(flood.clone());
        harness.core.handle_event(*key, READABLE);
    }
    let offer = format!(r#"{{"type":"offer","payload":"{:x<8000}"}}"#, "");
    harness.core.begin_iteration(Timestamp::from_nanos(2_000_000_000));
    harness.core.share_among(FLOODERS + 1);
    let before = harness.core.host.network.bytes_read;
    harness.arrive(one, &text(&offer));
    while !harness.fake(other.0).sent.ends_with(offer.as_bytes()) {
        harness.core.run_deferred();
        let waited = harness.core.host.network.bytes_read - before;
        let most = FLOODERS * MIN_EVENT_BYTES + RUN_LIST_BYTES_PER_ITERATION;
        assert!(waited <= most, "waited for {waited} bytes, more than {most}");
    }
    harness.audit();
}

#[test]
fn sessions_share_the_read_budget_of_an_iteration() {
    share_the_read_budget("/ws", &text(r#"{"type":"ping"}"#));
}

#[test]
fn echo_connections_share_the_read_budget_of_an_iteration() {
    share_the_read_budget("/echo", &text(""));
}

fn share_the_read_budget(path: &str, frame: &[u8]) {
    const MANY: usize = 1000;
    let mut harness = ShardHarness::new(Limits::default());
    let input = frame.repeat(RECEIVE_BUFFER_BYTES * 2 / 3 / frame.len());
    let many: Vec<_> = (0..MANY).map(|_| harness.open(path)).collect();
    for (number, _) in &many {
        harness.fake(*number).reads.push_back(input.clone());
    }
    let [one, other] = harness.room();
    let before = harness.core.host.network.bytes_read;
    harness.wait(Duration::ZERO);
    harness.core.share_among(MANY + 1);
    for (_, key) in &many {
        harness.core.handle_event(*key, READABLE);
    }
    let message = r#"{"type":"signal","payload":1}"#;
    harness.arrive(one, &text(message));
    assert!(harness.fake(other.0).sent.ends_with(message.as_bytes()), "in the same iteration");
    let waited = harness.core.host.network.bytes_read - before;
    let most = EVENT_BYTES_PER_ITERATION.max((MANY + 1) * MIN_EVENT_BYTES);
    assert!(waited <= most, "waited for {waited} bytes, more than {most}");
    // The rest is read in later iterations, and small messages of others come before it.
    while harness.core.has_work() {
        harness.fake(other.0).sent.clear();
        harness.core.begin_iteration(Timestamp::from_nanos(2_000_000_000));
        let before = harness.core.host.network.bytes_read;
        harness.arrive(one, &text(message));
        assert!(harness.fake(other.0).sent.ends_with(message.as_bytes()), "in the next iteration");
        harness.core.run_deferred();
        let read = harness.core.host.network.bytes_read - before;
        assert!(
            read <= RUN_LIST_BYTES_PER_ITERATION + 2 * RECEIVE_BUFFER_BYTES,
            "{read} bytes in one iteration"
        );
    }
    for (number, _) in &many {
        assert_eq!(harness.fake(*number).bytes_read, upgrade(path).len() + input.len());
    }
    harness.audit();
}

#[test]
fn a_message_is_relayed_in_its_iteration_behind_a_bounded_number_of_bytes() {
    const FLOODERS: usize = 20;
    let mut flood = text(r#"{"type":"ping"}"#);
    flood = flood.repeat(RECEIVE_BUFFER_BYTES / flood.len() + 1);
    flood.truncate(RECEIVE_BUFFER_BYTES);
    let binary = {
        // One frame of the largest size, repeated without end.
        let mut frame = Vec::new();
        push_client_frame(&mut frame, TEXT, &vec![b'x'; 65_536], KEY);
        frame
    };
    let head = [b'x'; RECEIVE_BUFFER_BYTES].to_vec();
    let requests = b"GET /health HTTP/1.1\r\nHost: h\r\n\r\n".repeat(2000);
    for endless in [flood, binary, head, requests.clone()] {
        let mut harness = ShardHarness::new(Limits::default());
        let plain = endless == requests;
        let flooders: Vec<_> = (0..FLOODERS)
            .map(|_| {
                if plain {
                    harness.connect(ScriptedConnection::default())
                } else {
                    harness.session()
                }
            })
            .collect();
        for (number, _) in &flooders {
            harness.fake(*number).endless = Some(endless.clone());
        }
        let [one, other] = harness.room();
        for nth in 0..5 {
            harness.fake(other.0).sent.clear();
            let before = harness.core.host.network.bytes_read;
            // The worst case: all flooding connections have an event, and the event of the other
            // client is the last of the iteration.
            harness.core.begin_iteration(Timestamp::from_nanos(2_000_000_000));
            for (_, key) in &flooders {
                harness.core.handle_event(*key, READABLE);
            }
            let message = r#"{"type":"signal","payload":1}"#;
            harness.arrive(one, &text(message));
            assert!(
                harness.fake(other.0).sent.ends_with(message.as_bytes()),
                "in the same iteration"
            );
            let waited = harness.core.host.network.bytes_read - before;
            // In the first iteration the flooding connections are not on the run list yet.
            let most = 100 + if nth == 0 { FLOODERS * RECEIVE_BUFFER_BYTES } else { 0 };
            assert!(waited <= most, "waited for {waited} bytes, more than {most}");
            let before = harness.core.host.network.bytes_read;
            harness.core.run_deferred();
            let read = harness.core.host.network.bytes_read - before;
            let most =
                RUN_LIST_BYTES_PER_ITERATION + READS_PER_ITERATION as usize * RECEIVE_BUFFER_BYTES;
            assert!(read <= most, "{read} bytes in one iteration, more than {most}");
            harness.audit();
        }
        // No flooding connection starves either.
        for _ in 0..FLOODERS {
            harness.core.run_deferred();
        }
        let shares: Vec<usize> = flooders
            .iter()
            .map(|(number, _)| harness.core.host.network.connections[*number].bytes_read)
            .collect();
        let (least, most) = (shares.iter().min().unwrap(), shares.iter().max().unwrap());
        assert!(least * 3 > *most || harness.fake(flooders[0].0).closed, "{shares:?}");
    }
}
