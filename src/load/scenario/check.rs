//! Numbers that no run can be made of. Pure.

use super::Scenario;
use crate::load::units::Span;

impl Scenario {
    /// Refuses numbers that no run can be made of.
    ///
    /// # Errors
    /// One line naming the key.
    pub fn check(&self) -> Result<(), String> {
        let even = |users: u32| match users {
            0 => Err("users: at least 2 are needed".to_owned()),
            n if n % 2 == 1 => Err(format!("users: {n} cannot be matched in pairs")),
            _ => Ok(()),
        };
        let positive = |name: &str, value: f64| {
            if value > 0.0 { Ok(()) } else { Err(format!("{name} must be above 0")) }
        };
        let ordered = |least: Span, most: Span| {
            if least <= most { Ok(()) } else { Err("talk_min is longer than talk_max".to_owned()) }
        };
        if !crate::wire::message::is_queue_name(self.common().queue.as_bytes()) {
            return Err(format!("queue: `{}` is no queue name", self.common().queue));
        }
        match self {
            Scenario::Connections(s) => {
                positive("users", s.users.into())?;
                positive("connect_rate", s.connect_rate)
            }
            Scenario::Matchmaking(s) => {
                even(s.users)?;
                positive("rounds", s.rounds.into())?;
                positive("connect_rate", s.connect_rate)
            }
            Scenario::Signaling(s) => {
                positive("rooms", s.rooms.into())?;
                positive("connect_rate", s.connect_rate)
            }
            Scenario::Calls(s) => ordered(s.talk_min, s.talk_max),
            Scenario::Http(s) => positive("max_connections", s.max_connections.into()),
            Scenario::Stress(s) => {
                positive("rooms", s.rooms.into())?;
                positive("start", s.start)?;
                positive("connect_rate", s.connect_rate)?;
                positive("factor - 1", s.factor - 1.0)
            }
            Scenario::Endurance(s) => {
                positive("rooms", s.rooms.into())?;
                positive("percent", s.percent)?;
                ordered(s.talk_min, s.talk_max)
            }
            Scenario::Plan(s) => {
                positive("rooms", s.rooms.into())?;
                ordered(s.talk_min, s.talk_max)
            }
        }
    }
}
