//! The only source of randomness: a small generator that the seed of a run determines, with the same numbers on
//! every machine and in every version. Not for secrets.

/// `SplitMix64` (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators, 2014).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seeded {
    state: u64,
}

impl Seeded {
    /// The generator for one purpose in a run. Each purpose has its own generator, so that more draws for one do
    /// not change the draws for the others.
    pub fn new(seed: u64, purpose: &str) -> Self {
        // FNV-1a, because the hasher of the standard library may change.
        let purpose = purpose
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
        let mut generator = Self { state: seed };
        generator.state = generator.next_u64() ^ purpose;
        generator
    }

    /// The next 64 bits.
    pub fn next_u64(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.state ^ (self.state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number from 0 to `bound` - 1. The probabilities differ by at most 1 part in 2^64 / `bound`.
    ///
    /// # Panics
    /// If `bound` is 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        assert!(bound > 0, "there is no number below 0");
        ((u128::from(self.next_u64()) * u128::from(bound)) >> 64) as u64
    }

    /// A number from 0 to `bound` - 1, of which `n` has a probability of about 1/(n + 1), up to a factor: Zipf's law. (The
    /// whole part of a number whose logarithm is uniform.)
    ///
    /// # Panics
    /// If `bound` is 0.
    pub fn ranked(&mut self, bound: u64) -> u64 {
        assert!(bound > 0, "there is no number below 0");
        let drawn = (self.fraction() * ((bound + 1) as f64).ln()).exp();
        (drawn as u64).clamp(1, bound) - 1
    }

    /// A number from 0 (inclusive) to 1 (exclusive).
    pub fn fraction(&mut self) -> f64 {
        (self.next_u64() >> 11) as f64 / (1_u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_follow_zipfs_law() {
        let mut generator = Seeded::new(1, "ranks");
        let mut times = [0_u32; 100];
        for _ in 0..100_000 {
            times[generator.ranked(100) as usize] += 1;
        }
        // ln 2 / ln 101 for the first, ln (3/2) / ln 101 for the second, and so on.
        for (rank, expected) in [(0, 0.150), (1, 0.0879), (9, 0.0207), (99, 0.00216)] {
            let share = f64::from(times[rank]) / 100_000.0;
            assert!((share / expected - 1.0).abs() < 0.15, "rank {rank}: {share}, not {expected}");
        }
        assert_eq!(generator.ranked(1), 0);
    }

    #[test]
    fn matches_the_reference_implementation() {
        let mut generator = Seeded { state: 1_234_567 };
        let expected = [
            6_457_827_717_110_365_317,
            3_203_168_211_198_807_973,
            9_817_491_932_198_370_423,
            4_593_380_528_125_082_431,
            16_408_922_859_458_223_821,
        ];
        assert_eq!([(); 5].map(|()| generator.next_u64()), expected);
    }

    #[test]
    fn depends_only_on_seed_and_purpose() {
        let draw = |seed, purpose| Seeded::new(seed, purpose).next_u64();
        assert_eq!(draw(7, "workload"), draw(7, "workload"));
        assert_ne!(draw(7, "workload"), draw(8, "workload"));
        assert_ne!(draw(7, "workload"), draw(7, "targets"));
    }

    #[test]
    fn draws_every_value_in_bounds() {
        let mut generator = Seeded::new(1, "test");
        let mut seen = [0_u32; 6];
        for _ in 0..6000 {
            seen[generator.below(6) as usize] += 1;
            assert!((0.0..1.0).contains(&generator.fraction()));
        }
        assert!(seen.iter().all(|&count| (800..1200).contains(&count)), "{seen:?}");
    }
}
