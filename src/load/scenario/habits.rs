//! What users of `calls` and `plan` do beside calls that end in good order. Pure values.

use super::{CallsScenario, PlanScenario};
use crate::load::units::DurationSetting;
use crate::load::user::UserHabits;

/// The settings that both scenarios have.
pub(super) struct HabitSettings {
    pub(super) cancel_percent: f64,
    pub(super) give_up_after: DurationSetting,
    pub(super) reset_percent: f64,
    pub(super) silent_percent: f64,
    pub(super) return_percent: f64,
    pub(super) return_after: DurationSetting,
}

macro_rules! habit_settings {
    ($($scenario:ident),*) => {$(
        impl $scenario {
            pub(super) fn habits(&self) -> HabitSettings {
                HabitSettings {
                    cancel_percent: self.cancel_percent,
                    give_up_after: self.give_up_after,
                    reset_percent: self.reset_percent,
                    silent_percent: self.silent_percent,
                    return_percent: self.return_percent,
                    return_after: self.return_after,
                }
            }

            /// What its users do beside calls that end in good order.
            pub fn user_habits(&self) -> UserHabits {
                self.habits().into()
            }
        }
    )*};
}
habit_settings!(CallsScenario, PlanScenario);

impl From<HabitSettings> for UserHabits {
    fn from(s: HabitSettings) -> UserHabits {
        UserHabits {
            cancel_share: s.cancel_percent / 100.0,
            patience: (!s.give_up_after.0.is_zero()).then_some(s.give_up_after.0),
            reset_share: s.reset_percent / 100.0,
            silent_share: s.silent_percent / 100.0,
            return_share: s.return_percent / 100.0,
            return_after: s.return_after.0,
        }
    }
}
