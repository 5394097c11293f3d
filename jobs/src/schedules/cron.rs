//! When a schedule ticks: a cron expression in a time zone.
//!
//! Where a clock is set forward or back, what counts is whether the expression names hours. One
//! that ticks in every hour goes on by the time that passes: nothing is left out, and nothing comes
//! twice at once. One that names hours ticks once a day for each of them: a tick in the hour that
//! is left out comes at the moment at which the clock is set forward, all that fall into it as one,
//! and in the hour that comes twice the first time counts.

use std::str::FromStr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use chrono::{DateTime, LocalResult, Offset as _, TimeDelta, TimeZone as _, Utc};
use chrono_tz::Tz;
use cron::{Schedule, TimeUnitSpec as _};

/// What is wrong with a schedule.
#[derive(Debug, thiserror::Error)]
pub enum ScheduleError {
    /// It does not parse.
    #[error(
        "the schedule {expression:?} is not a cron expression with seconds, such as \"0 */15 * * * *\": {reason}"
    )]
    Malformed {
        /// The text.
        expression: String,
        /// What is wrong with it.
        reason: cron::error::Error,
    },
    /// It has no time from now on, such as 30 February.
    #[error("the schedule {0:?} never comes to pass")]
    Never(String),
    /// There is no such zone.
    #[error("{0:?} is not a time zone such as \"Europe/Berlin\" or \"UTC\"")]
    UnknownZone(String),
}

/// A cron expression with a seconds field, in a time zone.
pub struct Cron {
    schedule: Schedule,
    zone: Tz,
    names_hours: bool,
}

impl Cron {
    /// Reads an expression, e.g. `0 */15 * * * *`, and the name of a zone, e.g. `Europe/Berlin`.
    ///
    /// # Errors
    /// When either is none, or when the expression never comes to pass.
    pub fn parse(expression: &str, zone: &str) -> Result<Self, ScheduleError> {
        let schedule =
            Schedule::from_str(expression).map_err(|reason| ScheduleError::Malformed {
                expression: expression.to_owned(),
                reason,
            })?;
        let zone = Tz::from_str(zone).map_err(|_| ScheduleError::UnknownZone(zone.to_owned()))?;
        let cron = Self {
            names_hours: !schedule.hours().is_all() && schedule.hours().count() < 24,
            schedule,
            zone,
        };
        match cron.after(now()) {
            Some(_) => Ok(cron),
            None => Err(ScheduleError::Never(expression.to_owned())),
        }
    }

    /// The first tick after a moment.
    pub fn after(&self, moment: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let (mut from, mut offset) = (moment, self.offset(moment));
        loop {
            // For as long as the offset stays, the clock on the wall is one that never jumps.
            let on_wall = self.schedule.after(&(from + offset)).next()?;
            let tick = on_wall - offset;
            let then = self.offset(tick);
            if then == offset {
                if self.names_hours && self.is_second_time(on_wall, tick) {
                    from = tick;
                    continue;
                }
                return Some(tick);
            }
            let change = self.change(from, tick, offset);
            let set_to = self.offset(change);
            if self.names_hours && on_wall < change + set_to {
                return Some(change);
            }
            (from, offset) = (change - TimeDelta::seconds(1), set_to);
        }
    }

    /// The time between the next two ticks; none when there are less than two.
    pub fn interval(&self) -> Option<Duration> {
        let first = self.after(now())?;
        (self.after(first)? - first).to_std().ok()
    }

    /// How far the clock on the wall is ahead of UTC.
    fn offset(&self, moment: DateTime<Utc>) -> TimeDelta {
        let offset = self.zone.offset_from_utc_datetime(&moment.naive_utc());
        TimeDelta::seconds(offset.fix().local_minus_utc().into())
    }

    /// Whether the clock on the wall showed the same once before.
    fn is_second_time(&self, on_wall: DateTime<Utc>, tick: DateTime<Utc>) -> bool {
        match self.zone.from_local_datetime(&on_wall.naive_utc()) {
            LocalResult::Ambiguous(first, _) => first != tick,
            _ => false,
        }
    }

    /// When the clock is set: the first second, after `from` and no later than `to`, whose offset is
    /// not `offset`.
    fn change(&self, from: DateTime<Utc>, to: DateTime<Utc>, offset: TimeDelta) -> DateTime<Utc> {
        let (mut before, mut after) = (from.timestamp(), to.timestamp());
        let at = |second| DateTime::from_timestamp(second, 0).unwrap_or_default();
        while after - before > 1 {
            let middle = before + (after - before) / 2;
            if self.offset(at(middle)) == offset {
                before = middle;
            } else {
                after = middle;
            }
        }
        at(after)
    }
}

fn now() -> DateTime<Utc> {
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH);
    let seconds = since_1970.unwrap_or_default().as_secs();
    DateTime::from_timestamp(seconds.try_into().unwrap_or_default(), 0).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    /// The ticks of a day in Berlin and those around it, as UTC.
    fn ticks(expression: &str, from: &str, count: usize) -> Vec<String> {
        let cron = Cron::parse(expression, "Europe/Berlin").unwrap();
        let mut at: DateTime<Utc> = from.parse().unwrap();
        let mut ticks = Vec::new();
        for _ in 0..count {
            at = cron.after(at).unwrap();
            ticks.push(at.format("%m-%d %H:%M:%S").to_string());
        }
        ticks
    }

    #[test]
    fn a_schedule_that_never_comes_to_pass_is_refused() {
        for never in ["0 0 0 30 2 *", "0 0 0 1 1 * 2020"] {
            let error = Cron::parse(never, "UTC").err().unwrap();
            assert!(matches!(error, ScheduleError::Never(_)), "{error}");
        }
        Cron::parse("0 0 0 29 2 *", "UTC").unwrap();
        for (malformed, zone) in [
            ("* * *", "UTC"),
            ("", "UTC"),
            ("0 0 0 * * *", "Mars/Olympus"),
        ] {
            assert!(Cron::parse(malformed, zone).is_err());
        }
    }

    #[test]
    fn an_interval_is_the_time_between_two_ticks() {
        let quarter = Cron::parse("0 */15 * * * *", "UTC").unwrap();
        assert_eq!(quarter.interval(), Some(Duration::from_secs(900)));
    }

    #[test]
    fn a_named_hour_is_that_of_the_zone_in_winter_and_in_summer() {
        let winter = ticks("0 30 2 * * *", "2027-01-10T12:00:00Z", 1);
        let summer = ticks("0 30 2 * * *", "2027-07-10T12:00:00Z", 1);
        assert_eq!(
            (&*winter[0], &*summer[0]),
            ("01-11 01:30:00", "07-11 00:30:00")
        );
    }

    #[test]
    fn a_tick_in_the_hour_that_is_left_out_comes_as_the_clock_is_set_forward() {
        // On 28 March 2027, 02:00 is followed by 03:00, at 01:00 UTC.
        let daily = ticks("0 30 2 * * *", "2027-03-27T00:00:00Z", 3);
        assert_eq!(
            daily,
            ["03-27 01:30:00", "03-28 01:00:00", "03-29 00:30:00"]
        );
        // All that fall into it are one, and those behind it stay.
        let several = ticks("0 */20 2,3 * * *", "2027-03-28T00:00:00Z", 4);
        assert_eq!(
            several,
            [
                "03-28 01:00:00",
                "03-28 01:20:00",
                "03-28 01:40:00",
                "03-29 00:00:00"
            ]
        );
    }

    #[test]
    fn a_tick_in_the_hour_that_comes_twice_comes_the_first_time() {
        // On 31 October 2027, 03:00 is 02:00 once more, at 01:00 UTC.
        let daily = ticks("0 30 2 * * *", "2027-10-30T12:00:00Z", 2);
        assert_eq!(daily, ["10-31 00:30:00", "11-01 01:30:00"]);
        let later = ticks("0 0 3 * * *", "2027-10-30T12:00:00Z", 1);
        assert_eq!(later, ["10-31 02:00:00"]);
    }

    #[test]
    fn what_ticks_in_every_hour_goes_on_by_the_time_that_passes() {
        let forward = ticks("0 0,30 * * * *", "2027-03-28T00:10:00Z", 4);
        assert_eq!(
            forward,
            [
                "03-28 00:30:00",
                "03-28 01:00:00",
                "03-28 01:30:00",
                "03-28 02:00:00"
            ]
        );
        let back = ticks("0 0,30 * * * *", "2027-10-31T00:10:00Z", 5);
        assert_eq!(
            back,
            [
                "10-31 00:30:00",
                "10-31 01:00:00",
                "10-31 01:30:00",
                "10-31 02:00:00",
                "10-31 02:30:00"
            ]
        );
    }
}
