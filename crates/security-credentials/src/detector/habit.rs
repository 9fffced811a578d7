//! What is usual of one credential, and what is not.

use std::{collections::VecDeque, net::IpAddr, time::Duration};

use security_core::Timestamp;

use super::burst::Different;
use crate::Thresholds;

const DAY: i64 = 86_400;
/// The peak of an hour's uses is forgotten by a two-hundredth an hour: to a half in six days, so that what happens
/// once a week is still half known.
const KEPT_AN_HOUR: f64 = 1.0 - 1.0 / 200.0;
/// How long volumes are watched before one of them can be a jump.
const WATCHED_HOURS: i64 = 48;
/// Days with uses before hours can be unusual.
const HABIT_DAYS: u16 = 7;
/// A credential with uses in more hours of the day than this has no hours.
const MOST_HOURS: u32 = 12;

/// What is known of one credential.
#[derive(Debug, Default)]
pub(super) struct Habit {
    /// Successful uses.
    uses: usize,
    known: Vec<IpAddr>,
    last_used: Option<Timestamp>,
    hours: Hours,
    volume: Volume,
    second: VecDeque<Timestamp>,
    /// Where it failed from.
    pub(super) failed_from: Different,
    /// Uses after its end: expired, revoked, superseded.
    pub(super) ended: [usize; 3],
    pub(super) in_grace: usize,
}

/// What is unusual of a use.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Unusual {
    pub(super) new_address: bool,
    /// The whole days for which it was not used.
    pub(super) slept_days: Option<u64>,
    /// The hour of the day, in UTC.
    pub(super) hour: Option<u32>,
    /// Uses of this hour, and the most that an hour had.
    pub(super) jump: Option<(u32, u32)>,
    /// Uses within this second, and when the first of them was.
    pub(super) rate: Option<(usize, Timestamp)>,
}

#[derive(Debug, Default)]
struct Hours {
    /// A bit for each hour of the day that ever had a use.
    used: u32,
    days: u16,
    last_day: i64,
}

#[derive(Debug, Default)]
struct Volume {
    since: Option<i64>,
    hour: i64,
    uses: u32,
    peak: f64,
}

impl Habit {
    /// Takes note of a successful use, and says what is unusual of it.
    pub(super) fn used(&mut self, at: Timestamp, place: Option<IpAddr>, t: &Thresholds) -> Unusual {
        let mut unusual = Unusual::default();
        if let Some(place) = place.filter(|_| t.new_address_baseline > 0) {
            let few = self.known.len() <= t.new_address_most_known;
            let unknown = !self.known.contains(&place);
            unusual.new_address = unknown && few && self.uses >= t.new_address_baseline;
            // One more than the bound is enough to know that the credential is used from anywhere.
            if unknown && few {
                self.known.push(place);
            }
            // Uses without a place teach nothing about places.
            self.uses += 1;
        }
        let slept = self.last_used.map_or(Duration::ZERO, |last| at.since(last));
        let dormant = Duration::from_secs(t.dormant_days.into()) * 86_400;
        if t.dormant_days > 0 && slept >= dormant {
            unusual.slept_days = Some(slept.as_secs() / 86_400);
        }
        self.last_used = self.last_used.max(Some(at));
        if t.unusual_hours {
            unusual.hour = self.hours.used(at);
        }
        unusual.jump = self.volume.used(at, t);
        unusual.rate = self.rate(at, t.successes_per_second);
        unusual
    }

    fn rate(&mut self, at: Timestamp, most: usize) -> Option<(usize, Timestamp)> {
        if most == 0 {
            return None;
        }
        let second = Duration::from_secs(1);
        while self.second.front().is_some_and(|first| at.since(*first) >= second) || self.second.len() > most
        {
            self.second.pop_front();
        }
        self.second.push_back(at);
        let first = *self.second.front()?;
        (self.second.len() > most).then_some((self.second.len(), first))
    }
}

impl Hours {
    /// The hour, if neither it nor its neighbours ever had a use and the credential has its hours.
    fn used(&mut self, at: Timestamp) -> Option<u32> {
        let (day, hour) = (at.as_seconds().div_euclid(DAY), at.as_seconds().rem_euclid(DAY) / 3600);
        let hour = u32::try_from(hour).unwrap_or(0); // below 24
        let near = [(hour + 23) % 24, hour, (hour + 1) % 24];
        let known = self.days >= HABIT_DAYS && self.used.count_ones() <= MOST_HOURS;
        let unusual = known && near.iter().all(|hour| self.used & (1 << hour) == 0);
        if self.days == 0 || day > self.last_day {
            self.days = self.days.saturating_add(1);
            self.last_day = day;
        }
        self.used |= 1 << hour;
        unusual.then_some(hour)
    }
}

impl Volume {
    /// Uses of this hour and the peak before it, at the use that makes it a jump and at every later one.
    fn used(&mut self, at: Timestamp, t: &Thresholds) -> Option<(u32, u32)> {
        if t.volume_factor == 0 {
            return None;
        }
        let hour = at.as_seconds().div_euclid(3600);
        let since = *self.since.get_or_insert(hour);
        if hour > self.hour {
            let passed = i32::try_from(hour - self.hour).unwrap_or(i32::MAX);
            self.peak = self.peak.max(f64::from(self.uses)) * KEPT_AN_HOUR.powi(passed);
            (self.hour, self.uses) = (hour, 0);
        }
        self.uses = self.uses.saturating_add(1);
        let many = self.uses > t.volume_least
            && f64::from(self.uses) > self.peak * f64::from(t.volume_factor)
            && hour - since >= WATCHED_HOURS;
        // The peak is below 2^32, as uses are.
        many.then_some((self.uses, self.peak as u32))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(hours: i64, second: i64) -> Timestamp {
        Timestamp::from_seconds(1_800_000_000 + hours * 3600 + second)
    }

    /// Uses of an hour, `count` of them; what was unusual of any.
    fn hour(habit: &mut Habit, number: i64, count: i64) -> Vec<Unusual> {
        let uses = (0..count).map(|n| habit.used(at(number, n * 3600 / count), None, &Thresholds::default()));
        uses.filter(|unusual| *unusual != Unusual::default()).collect()
    }

    #[test]
    fn a_jump_is_far_above_every_hour_of_the_week() {
        let mut habit = Habit::default();
        // Quiet hours, a job every night, a larger one once a week: for six weeks nothing is unusual.
        for number in 0..24 * 42 {
            let count = match number {
                _ if number % (24 * 7) == 3 => 3000,
                _ if number % 24 == 3 => 1500,
                _ => 20,
            };
            if number > 48 {
                assert_eq!(hour(&mut habit, number, count), [], "{number}");
            } else {
                hour(&mut habit, number, count);
            }
        }
        let jump = hour(&mut habit, 24 * 42, 20_000);
        assert!(jump[0].jump.unwrap().0 > 5000, "{jump:?}");
    }

    #[test]
    fn office_hours_are_known_after_a_week() {
        let mut habit = Habit::default();
        let office = |day: i64| day * 24 + 1; // 09:00, as the days here begin at 08:00
        for day in 0..10 {
            for offset in 0..8 {
                assert_eq!(hour(&mut habit, office(day) + offset, 3), [], "day {day}");
            }
        }
        assert_eq!(hour(&mut habit, office(10) - 1, 1), [], "an hour early");
        assert_eq!(hour(&mut habit, office(10) + 18, 1)[0].hour, Some(3));
        // A credential that works around the clock has no hours.
        let mut always = Habit::default();
        (0..24 * 10).for_each(|number| assert_eq!(hour(&mut always, number * 13 % 240, 1), []));
    }

    #[test]
    fn a_sleeper_is_told_by_its_days() {
        let mut habit = Habit::default();
        assert_eq!(hour(&mut habit, 0, 1), [], "the first use is no awakening");
        assert_eq!(hour(&mut habit, 24 * 31, 1), [], "once a month");
        assert_eq!(hour(&mut habit, 24 * 76, 1)[0].slept_days, Some(45));
    }
}
