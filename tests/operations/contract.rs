//! The wire contract in its three forms agrees with the code: `src/wire/PROTOCOL.md`, the JSON
//! Schemas and the TypeScript declarations. `tests/browser/types.test.js` compiles the last.

use super::documents::read;
use jsonschema::Validator;
use proptest::prelude::*;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::Duration;
use switchboard::config::HumanDuration;
use switchboard::ice::{CredentialLifetimes, IceServers, IceUrl, TimeLimitedTurn, TurnSecret};
use switchboard::ids::{RoomNo, SessionNo, TokenMint};
use switchboard::telemetry::Label;
use switchboard::wire::message::client::{ClientMessage, RoomClaim, parse_client_message};
use switchboard::wire::message::server::{LeaveReason, ServerMessage};
use switchboard::wire::message::{ClientMessageType, ErrorCode, MessageRefusal, RelayKind};

const PROTOCOL: &str = "src/wire/PROTOCOL.md";
const FROM_CLIENT: &str = "src/wire/contract/client-to-server.schema.json";
const FROM_SERVER: &str = "src/wire/contract/server-to-client.schema.json";
const TYPES: &str = "src/wire/contract/messages.d.ts";
const CLIENT_TYPES: &str = "src/wire/contract/client.d.ts";

fn schema(file: &str) -> Value {
    serde_json::from_str(&read(file)).unwrap()
}

fn validator(file: &str) -> Validator {
    jsonschema::draft202012::new(&schema(file)).unwrap()
}

/// Accepts what `$defs/planned` of a schema describes.
fn planned_validator(file: &str) -> Validator {
    let mut schema = schema(file);
    let root = schema.as_object_mut().unwrap();
    root.remove("oneOf");
    root.insert("$ref".to_owned(), json!("#/$defs/planned"));
    jsonschema::draft202012::new(&schema).unwrap()
}

#[track_caller]
fn assert_valid(validator: &Validator, text: &str) {
    let value: Value = serde_json::from_str(text).unwrap();
    let errors: Vec<String> = validator.iter_errors(&value).map(|e| e.to_string()).collect();
    assert!(errors.is_empty(), "{text}\n{}", errors.join("\n"));
}

/// The message types that the root of a schema lists.
fn types_of(schema: &Value) -> BTreeSet<String> {
    let references = schema["oneOf"].as_array().unwrap().iter();
    let names = references.map(|r| r["$ref"].as_str().unwrap().rsplit('/').next().unwrap());
    names.flat_map(|name| constants(&schema["$defs"][name]["properties"]["type"])).collect()
}

/// The values that a `const` or an `enum` allows.
fn constants(schema: &Value) -> BTreeSet<String> {
    let values = match schema.get("const") {
        Some(value) => vec![value.clone()],
        None => schema["enum"].as_array().unwrap().clone(),
    };
    values.iter().map(|value| value.as_str().unwrap().to_owned()).collect()
}

/// The literals of `export type NAME = …;` in a declaration file.
fn literals(declarations: &str, name: &str) -> BTreeSet<String> {
    let start = format!("export type {name} =");
    let (_, rest) = declarations.split_once(&start).unwrap_or_else(|| panic!("no type {name}"));
    let (body, _) = rest.split_once(';').unwrap();
    let values = body.split('|').map(|part| part.trim().trim_matches('\''));
    values.filter(|value| !value.is_empty()).map(str::to_owned).collect()
}

fn set<'a>(names: impl IntoIterator<Item = &'a str>) -> BTreeSet<String> {
    names.into_iter().map(str::to_owned).collect()
}

fn relay_types() -> BTreeSet<String> {
    set(RelayKind::ALL.map(RelayKind::as_str))
}

/// Every reason; a new one makes the match incomplete and has to be listed.
fn leave_reasons() -> [LeaveReason; 4] {
    use LeaveReason::{Disconnected, Left, Next, Timeout};
    match Left {
        Left | Next | Disconnected | Timeout => [Left, Next, Disconnected, Timeout],
    }
}

/// The `type` of a message; a new variant makes the match incomplete and needs a sample below.
fn type_of(message: &ServerMessage<'_>) -> &'static str {
    match message {
        ServerMessage::Session { .. } => "session",
        ServerMessage::Waiting { .. } => "waiting",
        ServerMessage::MatchFound { .. } => "match_found",
        ServerMessage::MatchCancelled => "match_cancelled",
        ServerMessage::RoomLeft { .. } => "room_left",
        ServerMessage::PeerLeft { .. } => "peer_left",
        ServerMessage::Pong { .. } => "pong",
        ServerMessage::Error(_) => "error",
        ServerMessage::Draining { .. } => "draining",
    }
}

/// Calls `visit` with every message that the encoder can produce, once for each value of its enums.
fn for_each_server_message(mut visit: impl FnMut(ServerMessage<'_>)) {
    let mint = TokenMint::new([9; 16]);
    let (room_id, session_id) = (mint.room(RoomNo(1)), mint.session(SessionNo(1)));
    let peer_id = mint.session(SessionNo(2));
    let turn = IceUrl::turn("turn:turn.example.org:3478?transport=udp").unwrap();
    let secret = TurnSecret::from_file_contents(b"secret").unwrap();
    let day = Duration::from_secs(86_400);
    let lifetimes = CredentialLifetimes { session: day, call: day };
    let fixed = ["stun:stun.example.org", "turns:[2001:db8::1],user=a\"b,password=c\\d"];
    let fixed = fixed.map(|server| server.parse().unwrap());
    let servers =
        IceServers::new(&fixed, Some(TimeLimitedTurn::new(vec![turn], secret, lifetimes).unwrap()));
    let servers = servers.session_json(session_id.as_str(), 1_800_000_000);
    for (ice_servers, relay_only) in [("[]", false), (&*servers, true)] {
        visit(ServerMessage::Session { session_id, ice_servers, relay_only });
    }
    for queue in ["default", "a", "A-Z_0.9:z", &"x".repeat(64)] {
        for expected_wait in [None, Some(0), Some(3_600_000)] {
            let expected_wait = expected_wait.map(Duration::from_millis);
            visit(ServerMessage::Waiting { queue, expected_wait });
        }
    }
    for (initiator, ice_servers) in [(true, None), (false, Some(&*servers))] {
        visit(ServerMessage::MatchFound { room_id, peer_id, initiator, ice_servers });
    }
    visit(ServerMessage::MatchCancelled);
    visit(ServerMessage::RoomLeft { room_id });
    for reason in leave_reasons() {
        visit(ServerMessage::PeerLeft { room_id, reason });
    }
    for payload in [None, Some("1"), Some(r#"{"a":[null,"b"]}"#)] {
        visit(ServerMessage::Pong { payload });
    }
    for code in ErrorCode::ALL {
        visit(ServerMessage::Error(MessageRefusal::new(*code, None)));
        for refused in ClientMessageType::ALL {
            let refusal = MessageRefusal::of(refused, *code);
            visit(ServerMessage::Error(MessageRefusal { retry_after_ms: Some(3000), ..refusal }));
        }
    }
    for deadline_ms in [0, 30_000, 86_400_000] {
        visit(ServerMessage::Draining { deadline_ms });
    }
}

/// An example of `PROTOCOL.md`.
struct Example {
    from_client: bool,
    planned: bool,
    text: String,
}

/// The JSON blocks of `PROTOCOL.md`, and each message of the example of a whole call.
fn examples() -> Vec<Example> {
    let mut examples = Vec::new();
    let text = read(PROTOCOL);
    for block in text.split("\n```").skip(1).step_by(2) {
        let (info, body) = block.split_once('\n').unwrap();
        let words: Vec<&str> = info.split(' ').collect();
        match words[..] {
            ["json", from, ref rest @ ..] => examples.push(Example {
                from_client: from == "client",
                planned: rest == ["planned"],
                text: body.to_owned(),
            }),
            ["text", "call"] => {
                for line in body.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
                    let (direction, text) = line.split_at(4);
                    let from_client = ["A > ", "B > "].contains(&direction);
                    assert!(from_client || ["A < ", "B < "].contains(&direction), "{line}");
                    examples.push(Example { from_client, planned: false, text: text.to_owned() });
                }
            }
            _ => {}
        }
    }
    examples
}

#[test]
fn every_message_that_the_server_can_send_matches_its_schema() {
    let (validator, mut types) = (validator(FROM_SERVER), relay_types());
    for_each_server_message(|message| {
        let mut text = Vec::new();
        message.write(&mut text);
        let text = String::from_utf8(text).unwrap();
        assert_valid(&validator, &text);
        let value: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["type"], type_of(&message));
        types.insert(type_of(&message).to_owned());
    });
    assert_eq!(types, types_of(&schema(FROM_SERVER)), "the schema's types are the encoder's");
}

#[test]
fn enums_agree_between_code_schemas_and_declarations() {
    let (from_client, from_server) = (schema(FROM_CLIENT), schema(FROM_SERVER));
    let types = read(TYPES);
    let codes = set(ErrorCode::ALL.iter().map(|code| code.as_str()));
    assert_eq!(constants(&from_server["$defs"]["error_code"]), codes);
    assert_eq!(literals(&types, "ErrorCode"), codes);
    let reasons = set(leave_reasons().map(LeaveReason::as_str));
    assert_eq!(constants(&from_server["$defs"]["leave_reason"]), reasons);
    assert_eq!(literals(&types, "LeaveReason"), reasons);
    for schema in [&from_client, &from_server] {
        assert_eq!(constants(&schema["$defs"]["relayed"]["properties"]["type"]), relay_types());
    }
    let requests = set(ClientMessageType::ALL.map(ClientMessageType::as_str));
    assert_eq!(types_of(&from_client), requests);
    assert_eq!(constants(&from_server["$defs"]["refused"]), requests);
    assert_eq!(literals(&types, "RelayType"), relay_types());
    for (name, planned, present) in [
        ("PlannedErrorCode", "planned_error_code", &codes),
        ("PlannedLeaveReason", "planned_leave_reason", &reasons),
    ] {
        let planned = constants(&from_server["$defs"][planned]);
        assert_eq!(literals(&types, name), planned);
        assert!(planned.is_disjoint(present), "{name}: no longer planned");
    }
    let planned = constants(&from_server["$defs"]["planned"]["properties"]["type"]);
    assert!(planned.is_disjoint(&types_of(&from_server)), "no longer planned");
}

/// The members of a union of interfaces, each by its `type`.
#[test]
fn declared_message_types_are_those_of_the_schemas() {
    let types = read(TYPES);
    for (union, file) in [("ClientMessage", FROM_CLIENT), ("ServerMessage", FROM_SERVER)] {
        let mut declared = BTreeSet::new();
        for interface in literals(&types, union) {
            let (_, body) = types.split_once(&format!("export interface {interface} {{")).unwrap();
            let (_, name) = body.split_once("type: ").unwrap();
            let (name, _) = name.split_once(';').unwrap();
            match name {
                "RelayType" => declared.extend(relay_types()),
                name => _ = declared.insert(name.trim_matches('\'').to_owned()),
            }
        }
        assert_eq!(declared, types_of(&schema(file)), "{union}");
    }
}

#[test]
fn declared_events_are_those_that_the_client_emits() {
    let client = read("src/page/web/client.js");
    let emitted = client.split("#emit('").skip(1).map(|rest| rest.split('\'').next().unwrap());
    // One call passes the type on: the arguments of its caller are the events.
    assert!(client.contains("type === 'peer_away' || type === 'peer_back'"));
    let mut emitted: BTreeSet<String> = set(emitted);
    emitted.extend(set(["peer_away", "peer_back"]));
    let declarations = read(CLIENT_TYPES);
    let (_, body) = declarations.split_once("export interface ClientEvents {\n").unwrap();
    let (body, _) = body.split_once("\n}").unwrap();
    let declared = body.lines().map(str::trim).filter(|line| !line.starts_with('/'));
    assert_eq!(set(declared.map(|line| line.split(':').next().unwrap())), emitted);
}

#[test]
fn examples_of_the_contract_match_the_schemas_and_the_decoder() {
    let mut found = BTreeSet::new();
    for Example { from_client, planned, text } in examples() {
        let file = if from_client { FROM_CLIENT } else { FROM_SERVER };
        let validator = if planned { planned_validator(file) } else { validator(file) };
        assert_valid(&validator, &text);
        if from_client {
            let expected = if planned { Err(ErrorCode::UnknownType) } else { Ok(()) };
            let parsed = parse_client_message(text.as_bytes()).map(|_| ());
            assert_eq!(parsed.map_err(|refusal| refusal.code), expected, "{text}");
        }
        let value: Value = serde_json::from_str(&text).unwrap();
        found.insert((from_client, planned, value["type"].as_str().unwrap().to_owned()));
    }
    for (from_client, file) in [(true, FROM_CLIENT), (false, FROM_SERVER)] {
        let of = |planned| {
            let of = found.iter().filter(move |found| (found.0, found.1) == (from_client, planned));
            of.map(|found| found.2.clone()).collect::<BTreeSet<_>>()
        };
        let missing: Vec<_> = types_of(&schema(file)).difference(&of(false)).cloned().collect();
        assert!(missing.is_empty(), "{file}: no example of {missing:?}");
        assert!(!of(true).is_empty(), "{file}: no example of what is planned");
    }
}

/// The first column of the table under a heading of `PROTOCOL.md`, without rows that are planned.
fn first_column(heading: &str) -> BTreeSet<String> {
    let text = read(PROTOCOL);
    let (_, section) = text.split_once(&format!("\n{heading}\n")).unwrap();
    let rows = section.lines().take_while(|line| !line.starts_with("## "));
    let rows = rows.filter(|line| line.starts_with("| ") && !line.starts_with("| ---")).skip(1);
    let rows = rows.filter(|row| !row.ends_with("(planned, not implemented) |"));
    rows.map(|row| row[2..].split(" |").next().unwrap().trim_matches('`').to_owned()).collect()
}

#[test]
fn tables_of_the_contract_name_the_codes_of_the_code() {
    let types = read(TYPES);
    assert_eq!(first_column("## Error codes"), literals(&types, "ErrorCode"));
    assert_eq!(first_column("### `peer_left`"), literals(&types, "LeaveReason"));
    let mut close_codes = first_column("## Close codes");
    assert!(close_codes.remove("1011"), "reserved, and never sent");
    assert_eq!(close_codes, literals(&types, "CloseCode"));
}

/// A quantity of the contract as the reference writes it: `64 KiB` is `65536`, `25 s` is `25s`.
fn in_reference_units(quantity: &str) -> String {
    let (number, unit) = quantity.split_once(' ').unwrap_or((quantity, ""));
    let number = number.replace(',', "");
    let scaled = |shift: u32| (number.parse::<u64>().unwrap() << shift).to_string();
    match unit {
        "KiB" => scaled(10),
        "MiB" => scaled(20),
        "GiB" => scaled(30),
        "h" => format!("{}d", number.parse::<u64>().unwrap() / 24),
        "s" => HumanDuration(Duration::from_secs(number.parse().unwrap())).to_string(),
        unit => format!("{number}{unit}"),
    }
}

/// The row of the table of limits for each flag that exists: its default and its range.
#[test]
fn limits_of_the_contract_are_those_of_the_flags() {
    let reference = switchboard::config::flags_table();
    let text = read(PROTOCOL);
    let (_, section) = text.split_once("\n## Limits\n").unwrap();
    let rows = section.lines().take_while(|line| !line.starts_with("## "));
    let mut compared = 0;
    for row in rows.filter(|line| line.contains("| `--") && !line.contains("planned")) {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let (default, bounds) = (cells[2].split(',').next().unwrap(), cells[3]);
        let flag = bounds.split('`').nth(1).unwrap();
        let entry = reference.lines().find(|line| line.starts_with(&format!("| `{flag} ")));
        let entry: Vec<&str> = entry.unwrap().split('|').map(str::trim).collect();
        if default != "descriptors" {
            let default =
                if default == "off" { "0".to_owned() } else { in_reference_units(default) };
            assert_eq!(entry[3].trim_matches('`'), default, "the default of {flag}");
        }
        let range = bounds.split(", ").nth(1).unwrap().split(';').next().unwrap();
        if let Some((min, max)) = range.split_once(" to ") {
            let range = format!("{} to {}", in_reference_units(min), in_reference_units(max));
            let is_gap = bounds.ends_with(", 0 s is off") && !min.starts_with("0 ");
            let range = if is_gap { format!("0s, or {range}") } else { range };
            assert_eq!(entry[4], range, "the range of {flag}");
        }
        compared += 1;
    }
    assert!(compared > 10, "{compared} rows");
}

const ROOM: &str = "Q6UBtzG5vQbPuFoiYRrQ4w";

/// Values that a member may have: usable ones, and some of the wrong shape.
fn any_value() -> impl Strategy<Value = Value> {
    let queue = prop::sample::select(vec![
        json!("en"),
        json!("a b"),
        json!(""),
        json!("x".repeat(64)),
        json!("x".repeat(65)),
        json!("A-Z_0.9:z"),
        json!("ä"),
        json!(null),
        json!(7),
        json!(["en"]),
    ]);
    prop_oneof![
        3 => queue.prop_map(|queue| json!({ "queue": queue, "other": 1 })),
        1 => prop::sample::select(vec![
            json!({}), json!(null), json!("en"), json!([1]), json!(true), json!({"sdp": "v=0\r\n"}),
            json!({"type": "offer"}),
        ]),
    ]
}

/// Objects that are a message of a client, or nearly one.
fn any_message() -> impl Strategy<Value = Value> {
    let names = [
        "find_match",
        "cancel_match",
        "offer",
        "answer",
        "ice_candidate",
        "signal",
        "leave_room",
        "ping",
        "report",
        "session",
        "Offer",
        "",
    ];
    let name = prop_oneof![
        9 => prop::sample::select(names.to_vec()).prop_map(|name| json!(name)),
        1 => prop::sample::select(vec![json!(null), json!(7), json!({})]),
    ];
    let room = prop_oneof![
        3 => Just(None),
        3 => Just(Some(json!(ROOM))),
        1 => prop::sample::select(vec![Some(json!(null)), Some(json!(7)), Some(json!("short"))]),
    ];
    let extra = prop_oneof![
        6 => Just(None),
        1 => prop::sample::select(vec![Some("TYPE"), Some("tYpe"), Some("Payload"), Some("types")]),
    ];
    let payload = prop::option::of(any_value());
    (prop::option::weighted(0.95, name), room, payload, extra).prop_map(
        |(name, room, payload, extra)| {
            let mut message = json!({});
            for (member, value) in [("type", name), ("room_id", room), ("payload", payload)] {
                if let Some(value) = value {
                    message[member] = value;
                }
            }
            if let Some(extra) = extra {
                message[extra] = json!(1);
            }
            message
        },
    )
}

/// Whether the server takes a message, given that a room's name is an identifier.
fn is_accepted(text: &str) -> bool {
    match parse_client_message(text.as_bytes()) {
        Ok(ClientMessage::Relay(_, claim) | ClientMessage::LeaveRoom(claim)) => match claim {
            RoomClaim::Current => true,
            RoomClaim::Named(name) => *name == *ROOM.as_bytes(),
            RoomClaim::Invalid => false,
        },
        Ok(_) => true,
        Err(_) => false,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn the_decoder_accepts_exactly_what_the_client_schema_accepts(message in any_message()) {
        thread_local! {
            static VALIDATOR: Validator = validator(FROM_CLIENT);
        }
        let valid = VALIDATOR.with(|validator| validator.is_valid(&message));
        prop_assert_eq!(is_accepted(&message.to_string()), valid, "{}", message);
    }
}
