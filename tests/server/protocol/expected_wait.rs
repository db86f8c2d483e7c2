//! The expected wait that `waiting` tells: for `default` and the queues of `--stats-queue`, summed
//! over all shards. How it is computed is tested in `src/telemetry/expected_wait.rs`.

use crate::support::{Client, ProtocolClient, Server, wait_until};
use std::time::Duration;

/// Matches two users in a queue, the first of whom waited at least `wait`.
fn meet(server: &Server, queue: &str, wait: Duration) -> [Client; 2] {
    let mut users = [server.client(), server.client()];
    let [first, second] = &mut users;
    first.join_queue(queue);
    let since = std::time::Instant::now();
    wait_until("the first has waited", || match since.elapsed() {
        elapsed if elapsed >= wait => Ok(()),
        elapsed => Err(format!("it has waited {elapsed:?}")),
    });
    second.join_queue(queue);
    assert_eq!(first.expect_match().room_id, second.expect_match().room_id);
    users
}

/// What a `find_match` for this queue is told.
fn told(user: &mut Client, queue: &str) -> Option<u64> {
    user.find_match(queue);
    let payload = user.expect_message("waiting");
    assert_eq!(payload["queue"], queue, "{payload}");
    payload.get("expected_wait_ms").map(|ms| ms.as_u64().expect("a whole number"))
}

#[test]
fn tells_the_expected_wait_of_named_queues_and_of_the_default_queue() {
    let server = Server::start(&["--shards", "2", "--stats-queue", "en"]);
    let mut newcomer = server.client();
    assert_eq!(told(&mut newcomer, "default"), None, "there was no room yet");
    newcomer.send_text(r#"{"type":"cancel_match"}"#);
    newcomer.expect_message("match_cancelled");
    let wait = Duration::from_millis(300);
    let _users = ["default", "en", "unnamed"].map(|queue| meet(&server, queue, wait));
    for queue in ["default", "en"] {
        wait_until("there is an estimate", || match told(&mut newcomer, queue) {
            Some(ms @ 300..60_000) => Ok(ms),
            other => Err(format!("{queue}: {other:?}")),
        });
    }
    // The main thread has counted all three rooms by now, because it counts them together.
    assert_eq!(told(&mut newcomer, "unnamed"), None);
}
