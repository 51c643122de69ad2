//! Statistics for two samples. By ranks, because times of failovers are not normally distributed, and exact for small samples.
//! Pure: nothing is random.

/// The level of significance: a difference counts if chance alone would give one as large with a lower probability. The
/// confidence level of intervals is `1 - SIGNIFICANCE`.
pub const SIGNIFICANCE: f64 = 0.05;

/// The smallest number of runs on each side that can differ at [`SIGNIFICANCE`]: with 3 against 3, chance gives even the
/// clearest order in 2 of 20 cases.
pub const FEWEST_RUNS: u32 = 4;

/// Up to this number of values in total the exact distribution is used. Beyond it the normal distribution differs by less
/// than 0.001.
const COUNTED_UP_TO: usize = 40;

/// The normal quantiles for a two-sided level of 5 % and a power of 80 %.
const Z_SIGNIFICANCE: f64 = 1.959_964;
const Z_POWER: f64 = 0.841_621;

/// The largest number of runs that is worth stating.
const MOST_RUNS: f64 = 1000.0;

/// The median; None for no values.
pub fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    median_of_sorted(&sorted)
}

fn median_of_sorted(sorted: &[f64]) -> Option<f64> {
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => None,
        length if length % 2 == 1 => Some(sorted[middle]),
        _ => Some(f64::midpoint(sorted[middle - 1], sorted[middle])),
    }
}

/// The two-sided p-value of the Mann-Whitney U test (Wilcoxon's rank-sum test): the probability that two samples of the same
/// distribution differ in rank at least as much as these. Ties share their ranks. 1 if a sample is empty.
pub fn mann_whitney(a: &[f64], b: &[f64]) -> f64 {
    if a.is_empty() || b.is_empty() {
        return 1.0;
    }
    let ranks = doubled_ranks(a, b);
    let (count_a, count) = (a.len(), ranks.len());
    let observed: usize = ranks[..count_a].iter().sum();
    // Twice the mean of the rank sum is a whole number.
    let mean = count_a * (count + 1);
    let distance = observed.abs_diff(mean);
    if count <= COUNTED_UP_TO {
        let sums = rank_sums(&ranks, count_a);
        let total: f64 = sums.iter().sum();
        let as_far: f64 =
            sums.iter().enumerate().filter(|(sum, _)| sum.abs_diff(mean) >= distance).map(|(_, ways)| ways).sum();
        return (as_far / total).min(1.0);
    }
    let deviation = rank_sum_deviation(&ranks, count_a);
    if deviation == 0.0 {
        return 1.0;
    }
    // The continuity correction.
    let z = ((distance as f64 / 2.0 - 0.5) / deviation).max(0.0);
    (2.0 * upper_tail(z)).min(1.0)
}

/// The shift from `a` to `b` by Hodges and Lehmann, the median of all differences `b - a`, and its confidence interval. The
/// interval excludes 0 about when [`mann_whitney`] is below [`SIGNIFICANCE`]; None with too few values.
pub fn shift(a: &[f64], b: &[f64]) -> Option<(f64, Option<(f64, f64)>)> {
    let mut differences: Vec<f64> = a.iter().flat_map(|a| b.iter().map(move |b| b - a)).collect();
    differences.sort_by(f64::total_cmp);
    let shift = median_of_sorted(&differences)?;
    let interval = critical_u(a.len(), b.len()).map(|u| (differences[u], differences[differences.len() - 1 - u]));
    Some((shift, interval))
}

/// About how many runs on each side would show this difference with a probability of 80 % (Noether, 1987); None if more than
/// a thousand.
pub fn runs_needed(a: &[f64], b: &[f64]) -> Option<u32> {
    let fewest = f64::from(FEWEST_RUNS);
    if a.len().min(b.len()) < 3 {
        // Too few runs to estimate the difference.
        return Some(FEWEST_RUNS);
    }
    let pairs = (a.len() * b.len()) as f64;
    let wins: f64 = a.iter().flat_map(|a| b.iter().map(move |b| win(*a, *b))).sum();
    let distance = (wins / pairs - 0.5).abs();
    let needed = ((Z_SIGNIFICANCE + Z_POWER) / distance).powi(2) / 6.0;
    // The present number was not enough, whatever the formula gives.
    let more_than_now = a.len().min(b.len()) as f64 + 1.0;
    (needed <= MOST_RUNS).then(|| needed.ceil().max(fewest).max(more_than_now) as u32)
}

fn win(a: f64, b: f64) -> f64 {
    match a.total_cmp(&b) {
        std::cmp::Ordering::Less => 1.0,
        std::cmp::Ordering::Equal => 0.5,
        std::cmp::Ordering::Greater => 0.0,
    }
}

/// Twice the rank of each value among all, those of `a` first. Ties get the mean of their ranks, which may be a half.
fn doubled_ranks(a: &[f64], b: &[f64]) -> Vec<usize> {
    let all: Vec<f64> = a.iter().chain(b).copied().collect();
    all.iter()
        .map(|value| {
            let below = all.iter().filter(|other| other.total_cmp(value).is_lt()).count();
            let equal = all.iter().filter(|other| other.total_cmp(value).is_eq()).count();
            2 * below + equal + 1
        })
        .collect()
}

/// The number of ways in which `chosen` of the ranks add up to each sum.
fn rank_sums(ranks: &[usize], chosen: usize) -> Vec<f64> {
    let most: usize = ranks.iter().sum();
    let mut ways = vec![vec![0.0; most + 1]; chosen + 1];
    ways[0][0] = 1.0;
    for &rank in ranks {
        for count in (1..=chosen).rev() {
            let (fewer, these) = ways.split_at_mut(count);
            for (sum, ways) in these[0].iter_mut().enumerate().skip(rank) {
                *ways += fewer[count - 1][sum - rank];
            }
        }
    }
    ways.swap_remove(chosen)
}

/// The standard deviation of the rank sum (ranks, not doubled), with ties.
fn rank_sum_deviation(ranks: &[usize], count_a: usize) -> f64 {
    let count = ranks.len() as f64;
    let mean = f64::midpoint(count, 1.0);
    let spread: f64 = ranks.iter().map(|rank| (*rank as f64 / 2.0 - mean).powi(2)).sum();
    (count_a as f64 * (count - count_a as f64) * spread / (count * (count - 1.0))).sqrt()
}

/// The largest U of two samples without ties that is significant on one side; None if none is.
fn critical_u(count_a: usize, count_b: usize) -> Option<usize> {
    let count = count_a + count_b;
    if count > COUNTED_UP_TO {
        let (a, b) = (count_a as f64, count_b as f64);
        let deviation = (a * b * (count as f64 + 1.0) / 12.0).sqrt();
        let u = (a * b / 2.0 - Z_SIGNIFICANCE * deviation - 0.5).floor();
        return (u >= 0.0).then_some(u as usize);
    }
    let ranks: Vec<usize> = (1..=count).map(|rank| 2 * rank).collect();
    let sums = rank_sums(&ranks, count_a);
    let total: f64 = sums.iter().sum();
    let lowest = count_a * (count_a + 1);
    let mut below = 0.0;
    let mut critical = None;
    for (u, ways) in sums[lowest..].iter().step_by(2).enumerate() {
        below += ways;
        if below / total > SIGNIFICANCE / 2.0 {
            break;
        }
        critical = Some(u);
    }
    critical
}

/// The share of the normal distribution above `z`, for `z` from 0 (Abramowitz and Stegun 26.2.17; the error is below 1e-7).
fn upper_tail(z: f64) -> f64 {
    let t = 1.0 / (1.0 + 0.231_641_9 * z);
    let polynomial = [1.330_274_429, -1.821_255_978, 1.781_477_937, -0.356_563_782, 0.319_381_530]
        .iter()
        .fold(0.0, |sum, factor| (sum + factor) * t);
    polynomial * (-z * z / 2.0).exp() / (2.0 * std::f64::consts::PI).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(start: f64, count: usize) -> Vec<f64> {
        (0..count).map(|step| start + step as f64).collect()
    }

    #[test]
    fn the_median_is_the_middle() {
        for (values, expected) in
            [(vec![], None), (vec![3.0], Some(3.0)), (vec![9.0, 1.0, 2.0], Some(2.0)), (vec![4.0, 1.0], Some(2.5))]
        {
            assert_eq!(median(&values), expected, "{values:?}");
        }
    }

    #[test]
    fn p_values_match_published_ones() {
        // Samples without any overlap: 2 of all the ways to choose.
        for (count, expected) in [(1, 1.0), (2, 2.0 / 6.0), (3, 0.1), (4, 2.0 / 70.0), (5, 2.0 / 252.0)] {
            let p = mann_whitney(&from(0.0, count), &from(100.0, count));
            assert!((p - expected).abs() < 1e-12, "{count} against {count}: {p}, expected {expected}");
            assert!((mann_whitney(&from(100.0, count), &from(0.0, count)) - p).abs() < 1e-12, "both ways alike");
        }
        for (a, b, expected) in [
            // Hollander and Wolfe, Nonparametric Statistical Methods, 2nd edition, example 4.1 (permeability of
            // membranes, 10 against 5): W = 30, P(W >= 90 of the other) = 0.127 on one side.
            (
                vec![0.80, 0.83, 1.89, 1.04, 1.45, 1.38, 1.91, 1.64, 0.73, 1.46],
                vec![1.15, 0.88, 0.90, 0.74, 1.21],
                0.2544,
            ),
            // Ties, counted out: of the C(4, 2) = 6 choices 4 are as far from the mean.
            (vec![1.0, 2.0], vec![2.0, 3.0], 4.0 / 6.0),
            (vec![5.0, 5.0, 5.0], vec![5.0, 5.0, 5.0], 1.0),
            (vec![], vec![1.0], 1.0),
        ] {
            let p = mann_whitney(&a, &b);
            assert!((p - expected).abs() < 5e-5, "{a:?} {b:?}: {p}, expected {expected}");
        }
    }

    #[test]
    fn critical_values_match_published_ones() {
        // Two-sided 5 %, as printed in every textbook.
        for (count_a, count_b, expected) in [
            (3, 3, None),
            (3, 4, None),
            (3, 5, Some(0)),
            (4, 4, Some(0)),
            (4, 6, Some(2)),
            (5, 5, Some(2)),
            (5, 8, Some(6)),
            (6, 6, Some(5)),
            (7, 7, Some(8)),
            (8, 8, Some(13)),
            (10, 10, Some(23)),
            (12, 9, Some(26)),
            (15, 15, Some(64)),
            (20, 20, Some(127)),
        ] {
            assert_eq!(critical_u(count_a, count_b), expected, "{count_a} and {count_b}");
        }
    }

    #[test]
    fn the_normal_distribution_continues_the_exact_one() {
        let spread = |shift: f64, count: usize| (0..count).map(|at| (at * 7 % 20) as f64 + shift).collect::<Vec<_>>();
        let (counted, normal) =
            (mann_whitney(&spread(0.0, 20), &spread(4.1, 20)), mann_whitney(&spread(0.0, 21), &spread(4.1, 20)));
        assert!((counted - normal).abs() < 0.02, "{counted} {normal}");
        assert!((upper_tail(1.959_964) - 0.025).abs() < 1e-6 && (upper_tail(0.0) - 0.5).abs() < 1e-6);
        assert!(
            critical_u(25, 25).is_some_and(|u| (205..=212).contains(&u)),
            "{:?}; tables have 211",
            critical_u(25, 25)
        );
    }

    #[test]
    fn an_interval_needs_enough_values() {
        assert_eq!(shift(&[], &[1.0]), None);
        assert_eq!(shift(&[1.0], &[4.0]), Some((3.0, None)));
        assert_eq!(shift(&from(0.0, 3), &from(10.0, 3)), Some((10.0, None)));
        // 4 against 4: every difference counts, 10 - 3 to 13 - 0.
        assert_eq!(shift(&from(0.0, 4), &from(10.0, 4)), Some((10.0, Some((7.0, 13.0)))));
    }

    #[test]
    fn the_interval_agrees_with_the_test() {
        for moved in 0..30 {
            let (a, b) = (from(0.0, 6), from(f64::from(moved) / 3.0 + 0.1, 6));
            let (_, interval) = shift(&a, &b).expect("values");
            let (low, high) = interval.expect("enough values");
            let significant = mann_whitney(&a, &b) < SIGNIFICANCE;
            assert_eq!(significant, low > 0.0 || high < 0.0, "moved by {moved}: {low} to {high}");
        }
    }

    #[test]
    fn the_runs_needed_grow_as_the_difference_shrinks() {
        assert_eq!(runs_needed(&[1.0], &[9.0]), Some(FEWEST_RUNS));
        assert_eq!(runs_needed(&from(0.0, 3), &from(10.0, 3)), Some(6));
        let at = |moved: f64| runs_needed(&from(0.0, 8), &from(moved, 8)).unwrap_or(u32::MAX);
        assert!(at(3.1) < at(2.1) && at(2.1) < at(1.1), "{} {} {}", at(3.1), at(2.1), at(1.1));
        assert_eq!(runs_needed(&from(0.0, 8), &from(0.0, 8)), None, "no number shows a difference of nothing");
    }
}
