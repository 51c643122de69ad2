//! How sure a rate is: the exact interval of Clopper and Pearson (Biometrika 26, 1934).

use std::fmt;

use serde::{Deserialize, Serialize};

/// How often something happened, of how many times.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rate {
    /// How often.
    pub hits: u32,
    /// Of how many.
    pub of: u32,
}

impl Rate {
    /// Counts one more.
    pub fn count(&mut self, hit: bool) {
        self.of += 1;
        self.hits += u32::from(hit);
    }

    /// The share; 0 of nothing.
    pub fn share(self) -> f64 {
        if self.of == 0 { 0.0 } else { f64::from(self.hits) / f64::from(self.of) }
    }

    /// The interval that contains the true probability with at least this confidence (`0.95`), from 0 to 1.
    pub fn interval(self, confidence: f64) -> (f64, f64) {
        let tail = (1.0 - confidence) / 2.0;
        // The probability of so few, or fewer, falls with the probability of one.
        let at_most = |hits: u32, one: f64| (0..=hits).map(|k| chance(k, self.of, one)).sum::<f64>();
        let low = if self.hits == 0 { 0.0 } else { solve(|one| 1.0 - at_most(self.hits - 1, one) < tail) };
        let high = if self.hits == self.of { 1.0 } else { solve(|one| at_most(self.hits, one) > tail) };
        (low, high)
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (low, high) = self.interval(0.95);
        write!(f, "{} of {} (95 %: {:.0} to {:.0} %)", self.hits, self.of, low * 100.0, high * 100.0)
    }
}

/// The probability of exactly `hits` of `of`.
fn chance(hits: u32, of: u32, one: f64) -> f64 {
    if one <= 0.0 || one >= 1.0 {
        return f64::from(u8::from(if one <= 0.0 { hits == 0 } else { hits == of }));
    }
    let choose: f64 = (1..=hits).map(|k| f64::from(of - hits + k).ln() - f64::from(k).ln()).sum();
    (choose + f64::from(hits) * one.ln() + f64::from(of - hits) * (1.0 - one).ln()).exp()
}

/// The probability up to which a condition holds, between 0 and 1.
fn solve(holds: impl Fn(f64) -> bool) -> f64 {
    let (mut low, mut high) = (0.0, 1.0);
    for _ in 0..60 {
        let middle = f64::midpoint(low, high);
        if holds(middle) { low = middle } else { high = middle }
    }
    f64::midpoint(low, high)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_published_intervals() {
        // R 4: binom.test(k, n)$conf.int
        for (hits, of, low, high) in [
            (0, 10, 0.0, 0.308_497_1),
            (5, 10, 0.187_086_0, 0.812_914_0),
            (10, 10, 0.691_502_9, 1.0),
            (1, 30, 0.000_843_570_9, 0.172_169_5),
            (21, 21, 0.838_901_6, 1.0),
        ] {
            let found = Rate { hits, of }.interval(0.95);
            assert!((found.0 - low).abs() < 1e-5 && (found.1 - high).abs() < 1e-5, "{hits} of {of}: {found:?}");
        }
        assert_eq!(Rate::default().interval(0.95), (0.0, 1.0));
    }
}
