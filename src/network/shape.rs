//! The shapes of a partition: from sets of nodes to the directed pairs that are cut. Pure, and for
//! anything that can be compared: numbers of nodes, addresses.

use std::collections::BTreeSet;

/// Directed pairs: what the first sends does not reach the second.
pub type Pairs<T> = BTreeSet<(T, T)>;

/// Cuts everybody of one side from everybody of the other: both ways, or, `one_way`, only what the
/// first side sends to the second. Who stands on both sides is not cut from itself.
pub fn between<T: Copy + Ord>(a: &[T], b: &[T], one_way: bool) -> Pairs<T> {
    let mut pairs = Pairs::new();
    for &from in a {
        for &to in b.iter().filter(|&&to| to != from) {
            pairs.insert((from, to));
            if !one_way {
                pairs.insert((to, from));
            }
        }
    }
    pairs
}

/// Cuts one node from all others.
pub fn isolate<T: Copy + Ord>(node: T, all: &[T]) -> Pairs<T> {
    between(&[node], all, false)
}

/// Cuts the nodes into two halves; with an odd number, the second is larger by one.
pub fn halves<T: Copy + Ord>(nodes: &[T]) -> Pairs<T> {
    let (first, second) = nodes.split_at(nodes.len() / 2);
    between(first, second, false)
}

/// The most nodes that are still no majority, and the rest: one and two of three, two and four of six.
pub fn minority_and_majority<T>(nodes: &[T]) -> (&[T], &[T]) {
    nodes.split_at(nodes.len().saturating_sub(1) / 2)
}

/// Cuts the nodes into two sides that do not see each other, and one node, the first, that sees
/// both: three nodes make a chain.
pub fn bridge<T: Copy + Ord>(nodes: &[T]) -> Pairs<T> {
    nodes.get(1..).map_or_else(Pairs::new, halves)
}

/// Cuts the nodes so that each still sees a majority (itself included) and no two see the same one:
/// on a circle, each sees only its neighbours. None for fewer than three nodes, where it is not
/// possible. Three make a chain, of which the middle sees all.
pub fn ring<T: Copy + Ord>(nodes: &[T]) -> Option<Pairs<T>> {
    let count = nodes.len();
    match count {
        0..=2 => return None,
        3 => return Some(bridge(&[nodes[1], nodes[0], nodes[2]])),
        _ => {}
    }
    // A node that sees `reach` neighbours on each side sees 2 * reach + 1 nodes; a majority is count / 2 + 1.
    let reach = (count / 2).div_ceil(2);
    let mut pairs = Pairs::new();
    for (i, &from) in nodes.iter().enumerate() {
        for (j, &to) in nodes.iter().enumerate() {
            let apart = i.abs_diff(j);
            if apart.min(count - apart) > reach {
                pairs.insert((from, to));
            }
        }
    }
    Some(pairs)
}

#[cfg(test)]
mod tests {
    use super::{Pairs, between, bridge, halves, isolate, minority_and_majority, ring};
    use proptest::prelude::{ProptestConfig, prop_assert, prop_assert_eq, proptest};
    use std::collections::BTreeSet;

    fn nodes(count: u16) -> Vec<u16> {
        (1..=count).collect()
    }

    /// Returns the nodes that a node reaches in both directions, itself included.
    fn seen(node: u16, all: &[u16], cut: &Pairs<u16>) -> BTreeSet<u16> {
        all.iter().copied().filter(|&peer| !cut.contains(&(node, peer)) && !cut.contains(&(peer, node))).collect()
    }

    fn is_symmetrical(cut: &Pairs<u16>) -> bool {
        cut.iter().all(|&(from, to)| from != to && cut.contains(&(to, from)))
    }

    #[test]
    fn three_nodes_by_hand() {
        let all = nodes(3);
        for (shape, cut, expected) in [
            ("isolate", isolate(2, &all), vec![(1, 2), (2, 1), (2, 3), (3, 2)]),
            ("halves", halves(&all), vec![(1, 2), (1, 3), (2, 1), (3, 1)]),
            ("bridge", bridge(&all), vec![(2, 3), (3, 2)]),
            ("ring", ring(&all).unwrap(), vec![(1, 3), (3, 1)]),
            ("one way", between(&[1], &[2, 3], true), vec![(1, 2), (1, 3)]),
            ("a node on both sides", between(&[1, 2], &[2], false), vec![(1, 2), (2, 1)]),
        ] {
            assert_eq!(cut.into_iter().collect::<Vec<_>>(), expected, "{shape}");
        }
        assert_eq!(ring(&nodes(2)), None);
        assert!(bridge(&nodes(0)).is_empty());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(60))]

        #[test]
        fn a_partition_is_symmetrical_unless_it_is_one_way(count in 3u16..40, split in 1usize..39) {
            let all = nodes(count);
            let (a, b) = all.split_at(split.min(all.len() - 1));
            for cut in [between(a, b, false), isolate(all[split % all.len()], &all), halves(&all), bridge(&all), ring(&all).unwrap()] {
                prop_assert!(is_symmetrical(&cut));
            }
            let one_way = between(a, b, true);
            prop_assert_eq!(one_way.len(), a.len() * b.len());
            prop_assert!(one_way.iter().all(|(from, to)| a.contains(from) && b.contains(to)));
        }

        #[test]
        fn an_isolated_node_sees_itself_alone(count in 2u16..40, place in 0u16..40) {
            let all = nodes(count);
            let node = all[usize::from(place % count)];
            let cut = isolate(node, &all);
            for &each in &all {
                let expected = if each == node { 1 } else { all.len() - 1 };
                prop_assert_eq!(seen(each, &all, &cut).len(), expected);
            }
        }

        #[test]
        fn halves_differ_by_one_node_at_most(count in 2u16..40) {
            let all = nodes(count);
            let cut = halves(&all);
            let sizes: BTreeSet<usize> = all.iter().map(|&node| seen(node, &all, &cut).len()).collect();
            prop_assert_eq!(sizes, BTreeSet::from([all.len() / 2, all.len().div_ceil(2)]));
        }

        #[test]
        fn a_minority_is_the_largest_that_is_no_majority(count in 1u16..40) {
            let all = nodes(count);
            let (minority, majority) = minority_and_majority(&all);
            prop_assert!(2 * minority.len() < all.len() && 2 * (minority.len() + 1) >= all.len());
            prop_assert!(2 * majority.len() > all.len());
        }

        #[test]
        fn only_the_bridge_sees_both_sides(count in 3u16..40) {
            let all = nodes(count);
            let cut = bridge(&all);
            let whole: Vec<u16> = all.iter().copied().filter(|&node| seen(node, &all, &cut).len() == all.len()).collect();
            prop_assert_eq!(whole, vec![1]);
        }

        #[test]
        fn on_a_ring_each_sees_a_majority_and_no_two_the_same(count in 3u16..40) {
            let all = nodes(count);
            let cut = ring(&all).unwrap();
            let views: BTreeSet<BTreeSet<u16>> = all.iter().map(|&node| seen(node, &all, &cut)).collect();
            prop_assert_eq!(views.len(), all.len());
            prop_assert!(views.iter().all(|view| 2 * view.len() > all.len()));
        }
    }
}
