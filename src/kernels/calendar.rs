//! The Gregorian calendar in UTC, for `year()`, `hour()` and their kin.

/// Days from 1 March of the year -292277022400 to the Unix epoch: 730,692,556 periods of 400 years, the 306 days from
/// March to the end of a year, and the days from the year 1 to 1970.
///
/// Go counts unsigned seconds from that day and lets them wrap, so that every `i64` is a date. We count likewise to give
/// the same answer for absurd times, such as `year(vector(NaN))`.
const ERA_START_TO_EPOCH_DAYS: u64 = 730_692_556 * 146_097 + 306 + 719_162;

const SECONDS_PER_DAY: u64 = 86_400;

/// Years before the year 0 at which the count of days starts.
const ERA_START_YEARS: i64 = 292_277_022_400;

/// A point in time, taken apart. As Go 1.26's `time.Unix(seconds, 0).UTC()`.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) struct CivilTime {
    /// Astronomical: the year before 1 is 0.
    pub(crate) year: i64,
    /// 1 to 12.
    pub(crate) month: u64,
    /// 1 to 31.
    pub(crate) day_of_month: u64,
    /// 1 to 366.
    pub(crate) day_of_year: u64,
    /// Sunday is 0.
    pub(crate) day_of_week: u64,
    /// 28 to 31.
    pub(crate) days_in_month: u64,
    /// 0 to 23.
    pub(crate) hour: u64,
    /// 0 to 59.
    pub(crate) minute: u64,
}

impl CivilTime {
    /// The time that a float means: seconds since the epoch, cut towards zero.
    pub(crate) fn from_float_seconds(seconds: f64) -> Self {
        Self::from_unix_seconds(whole_seconds(seconds))
    }

    /// Uses years that begin in March, so that the leap day is their last and every fifth month repeats.
    fn from_unix_seconds(seconds: i64) -> Self {
        let since_start = (seconds as u64).wrapping_add(ERA_START_TO_EPOCH_DAYS * SECONDS_PER_DAY);
        let days = since_start / SECONDS_PER_DAY;
        let second_of_day = since_start % SECONDS_PER_DAY;

        let day_of_era = days % 146_097;
        // Takes out the leap days: every 1,460 days, put back every 36,524, taken out at the very end of the 400 years.
        let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let march_day = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let march_month = (5 * march_day + 2) / 153;
        let is_january_or_february = march_month >= 10;
        let month = if is_january_or_february { march_month - 9 } else { march_month + 3 };
        let march_year = (days / 146_097) as i64 * 400 + year_of_era as i64 - ERA_START_YEARS;
        let year = march_year + i64::from(is_january_or_february);
        let leap_day = u64::from(is_leap(year));

        Self {
            year,
            month,
            day_of_month: march_day - (153 * march_month + 2) / 5 + 1,
            day_of_year: if is_january_or_february { march_day - 305 } else { march_day + 60 + leap_day },
            // 1 March of a year divisible by 400 is a Wednesday.
            day_of_week: (days + 3) % 7,
            days_in_month: match month {
                2 => 28 + leap_day,
                4 | 6 | 9 | 11 => 30,
                _ => 31,
            },
            hour: second_of_day / 3_600,
            minute: second_of_day / 60 % 60,
        }
    }
}

fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

/// Go's `int64(float)` on amd64: cut towards zero; NaN, infinities and everything out of range become the smallest `i64`.
fn whole_seconds(seconds: f64) -> i64 {
    const FIRST_TOO_LARGE: f64 = 9_223_372_036_854_775_808.0;
    if (-FIRST_TOO_LARGE..FIRST_TOO_LARGE).contains(&seconds) { seconds as i64 } else { i64::MIN }
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, Datelike, NaiveDate, Timelike};
    use proptest::prelude::*;

    use super::*;

    fn slow(seconds: i64) -> CivilTime {
        let time = DateTime::from_timestamp(seconds, 0).expect("in chrono's range");
        let next_month = match time.month() {
            12 => NaiveDate::from_ymd_opt(time.year() + 1, 1, 1),
            month => NaiveDate::from_ymd_opt(time.year(), month + 1, 1),
        };
        CivilTime {
            year: i64::from(time.year()),
            month: u64::from(time.month()),
            day_of_month: u64::from(time.day()),
            day_of_year: u64::from(time.ordinal()),
            day_of_week: u64::from(time.weekday().num_days_from_sunday()),
            days_in_month: u64::from(next_month.and_then(|day| day.pred_opt()).expect("in range").day()),
            hour: u64::from(time.hour()),
            minute: u64::from(time.minute()),
        }
    }

    #[test]
    fn every_day_of_four_centuries_is_chronos() {
        for day in -146_097..146_097 {
            let seconds = day * 86_400 + 86_399;
            assert_eq!(CivilTime::from_unix_seconds(seconds), slow(seconds), "{seconds}");
        }
    }

    #[test]
    fn fractions_are_cut_towards_zero() {
        assert_eq!(CivilTime::from_float_seconds(-0.9), CivilTime::from_unix_seconds(0));
        assert_eq!(CivilTime::from_float_seconds(59.999).minute, 0);
    }

    #[test]
    fn absurd_times_wrap_as_they_do_in_go() {
        // Printed by Go 1.26 on amd64 for time.Unix(int64(v), 0).UTC().
        for (seconds, year, month, day_of_month, hour, minute) in [
            (f64::NAN, 292277026596, 12, 4, 15, 30),
            (f64::INFINITY, 292277026596, 12, 4, 15, 30),
            (-9.3e18, 292277026596, 12, 4, 15, 30),
        ] {
            let time = CivilTime::from_float_seconds(seconds);
            assert_eq!(
                (time.year, time.month, time.day_of_month, time.hour, time.minute),
                (year, month, day_of_month, hour, minute),
                "{seconds}"
            );
        }
    }

    proptest! {
        #[test]
        fn dates_are_chronos(seconds in -8_000_000_000_000i64..8_000_000_000_000) {
            prop_assert_eq!(CivilTime::from_unix_seconds(seconds), slow(seconds));
        }

        #[test]
        fn every_float_is_some_date(bits in any::<u64>()) {
            let time = CivilTime::from_float_seconds(f64::from_bits(bits));
            prop_assert!((1..=12).contains(&time.month) && (1..=time.days_in_month).contains(&time.day_of_month));
            prop_assert!((1..=366).contains(&time.day_of_year) && time.hour < 24 && time.minute < 60);
        }
    }
}
