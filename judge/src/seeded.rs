//! The one source of chance: a small generator that a run's seed determines, on every machine and
//! in every version alike. For choosing things, not for secrets.

/// `SplitMix64` (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators, 2014).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seeded {
    state: u64,
}

impl Seeded {
    /// The generator of one purpose in a run. Each purpose has its own, so that drawing more for
    /// one does not change what the others get.
    pub fn new(seed: u64, purpose: &str) -> Self {
        // FNV-1a, since the hasher of the standard library may change with its version.
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

    /// A number from 0 to `bound` - 1, each as likely as another but for 1 part in 2^64 / `bound`.
    pub fn below(&mut self, bound: u64) -> u64 {
        assert!(bound > 0, "there is no number below 0");
        ((u128::from(self.next_u64()) * u128::from(bound)) >> 64) as u64
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
    fn the_sequence_is_that_of_the_reference_implementation() {
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
    fn seed_and_purpose_alone_decide() {
        let draw = |seed, purpose| Seeded::new(seed, purpose).next_u64();
        assert_eq!(draw(7, "workload"), draw(7, "workload"));
        assert_ne!(draw(7, "workload"), draw(8, "workload"));
        assert_ne!(draw(7, "workload"), draw(7, "targets"));
    }

    #[test]
    fn draws_stay_in_bounds_and_reach_every_value() {
        let mut generator = Seeded::new(1, "test");
        let mut seen = [0_u32; 6];
        for _ in 0..6000 {
            seen[generator.below(6) as usize] += 1;
            assert!((0.0..1.0).contains(&generator.fraction()));
        }
        assert!(seen.iter().all(|&count| (800..1200).contains(&count)), "{seen:?}");
    }
}
