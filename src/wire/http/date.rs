//! Formats the value of a `Date` field (RFC 9110 §5.6.7). Pure: the caller reads the clock.

use std::fmt;
use std::time::Duration;

/// Length of an IMF-fixdate, `Sun, 06 Nov 1994 08:49:37 GMT`.
const DATE_LEN: usize = 29;
const DAYS: [&[u8; 3]; 7] = [b"Thu", b"Fri", b"Sat", b"Sun", b"Mon", b"Tue", b"Wed"];
const MONTHS: [&[u8; 3]; 12] = [
    b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec",
];
/// The last second of the year 9999, the last that the format can express.
const LAST_S: u64 = 253_402_300_799;

/// A formatted date. It is valid for a second: format it once for all responses of that second.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct HttpDate([u8; DATE_LEN]);

impl HttpDate {
    /// The date `since_epoch` after 1970-01-01T00:00:00Z, in whole seconds. Dates after the year
    /// 9999 become its last second.
    pub fn from_unix(since_epoch: Duration) -> Self {
        let seconds = since_epoch.as_secs().min(LAST_S);
        let (days, second_of_day) = (seconds / 86_400, seconds % 86_400);
        let (year, month, day) = civil(days);
        let mut text = *b"---, -- --- ---- --:--:-- GMT";
        text[..3].copy_from_slice(DAYS[(days % 7) as usize]);
        put_two(&mut text, 5, day);
        text[8..11].copy_from_slice(MONTHS[month]);
        put_two(&mut text, 12, year / 100);
        put_two(&mut text, 14, year % 100);
        put_two(&mut text, 17, second_of_day / 3600);
        put_two(&mut text, 20, second_of_day / 60 % 60);
        put_two(&mut text, 23, second_of_day % 60);
        HttpDate(text)
    }

    /// The value of the field.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for HttpDate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HttpDate({})", self.0.escape_ascii())
    }
}

fn put_two(text: &mut [u8; DATE_LEN], at: usize, number: u64) {
    text[at] = b'0' + (number / 10) as u8;
    text[at + 1] = b'0' + (number % 10) as u8;
}

/// Year, month counted from 0, and day of the month, of a day counted from 1970-01-01.
///
/// The calculation lets the year begin in March, so that a leap day is its last day. Then one
/// formula gives the first day of every month, and 400 years always have 146,097 days.
fn civil(days: u64) -> (u64, usize, u64) {
    const DAYS_TO_EPOCH_FROM_MARCH_OF_YEAR_0: u64 = 719_468;
    let day = days + DAYS_TO_EPOCH_FROM_MARCH_OF_YEAR_0;
    let (cycle, day) = (day / 146_097, day % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month_from_march = (5 * day + 2) / 153;
    let day = day - (153 * month_from_march + 2) / 5 + 1;
    let month = (month_from_march as usize + 2) % 12;
    let year = 400 * cycle + year + u64::from(month < 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn date(seconds: u64) -> String {
        String::from_utf8(HttpDate::from_unix(Duration::from_secs(seconds)).0.to_vec()).unwrap()
    }

    /// RFC 9110 §5.6.7: its own example, the epoch, leap days, and both ends.
    #[test]
    fn formats_dates_as_imf_fixdate() {
        assert_eq!(date(784_111_777), "Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(date(0), "Thu, 01 Jan 1970 00:00:00 GMT");
        assert_eq!(date(951_782_399), "Mon, 28 Feb 2000 23:59:59 GMT");
        assert_eq!(date(951_782_400), "Tue, 29 Feb 2000 00:00:00 GMT");
        assert_eq!(date(1_709_251_199), "Thu, 29 Feb 2024 23:59:59 GMT");
        assert_eq!(date(4_107_542_400), "Mon, 01 Mar 2100 00:00:00 GMT");
        assert_eq!(date(u64::MAX), "Fri, 31 Dec 9999 23:59:59 GMT");
    }

    /// Compares all days of 400 years with a calendar that counts days one by one.
    #[test]
    fn the_calendar_matches_a_day_by_day_count_for_400_years() {
        let (mut year, mut month, mut day) = (1970u64, 0usize, 1u64);
        for days in 0..146_097 {
            assert_eq!(civil(days), (year, month, day));
            let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
            let length = match month {
                1 => 28 + u64::from(leap),
                3 | 5 | 8 | 10 => 30,
                _ => 31,
            };
            day += 1;
            if day > length {
                (day, month) = (1, month + 1);
            }
            if month == 12 {
                (month, year) = (0, year + 1);
            }
        }
    }
}
