//! The charts of the picture: throughput and latency of each shard, and replica lag. Pure.

use std::fmt::Write;

use super::series::{Bucket, Grid, LagSeries, Latency, OpSeries};
use super::shapes::{MOST_SHAPES, Path, Row, Scale, Shape, percent, place};
use crate::facts::{Outage, STALL_NS, Window};
use crate::suite::{ClientSet, OpKind};
use crate::units::ShardNo;
use crate::words::list;
use crate::words::page::{at, bytes, count, counted, length};

/// A series of operations, or the sum of several of undisturbed shards.
pub(super) struct Charted {
    /// The shard, side of the clients, and what is summed, in words.
    pub heading: String,
    /// The numbers; of a sum, the latencies are the worst of its parts.
    pub series: OpSeries,
    /// Whether it is a sum.
    pub is_sum: bool,
}

/// The series, with those of all shards that nothing disturbed (every operation was served, and none of their outages took
/// 100 ms) summed up in one for reads and one for writes. A sum of one is that one.
pub(super) fn folded(all: Vec<OpSeries>, outages: &[Outage]) -> Vec<Charted> {
    let is_calm = |shard: ShardNo| {
        let own = all.iter().filter(|series| series.shard == shard);
        let mut buckets = own.flat_map(|series| &series.buckets);
        let unserved = buckets.any(|bucket| bucket.failed + bucket.unknown + bucket.unsent > 0);
        !unserved && !outages.iter().any(|outage| outage.shard == shard && outage.length_ns() >= STALL_NS)
    };
    let mut calm: Vec<ShardNo> = all.iter().map(|series| series.shard).filter(|&shard| is_calm(shard)).collect();
    calm.dedup();
    if calm.len() < 2 {
        calm.clear();
    }
    let (quiet, told): (Vec<OpSeries>, Vec<OpSeries>) =
        all.into_iter().partition(|series| calm.contains(&series.shard));
    let mut charted: Vec<Charted> = told
        .into_iter()
        .map(|series| {
            let heading = match series.clients {
                ClientSet::All => series.shard.to_string(),
                ClientSet::CutOff => format!("{}, clients that were cut off", series.shard),
                ClientSet::Rest => format!("{}, other clients", series.shard),
            };
            Charted { heading, series, is_sum: false }
        })
        .collect();
    for kind in [OpKind::Writes, OpKind::Reads] {
        let heading = format!("{} together: undisturbed, every operation was served", list(&calm));
        let mut parts = quiet.iter().filter(|series| series.kind == kind);
        let Some(first) = parts.next() else { continue };
        let mut sum = OpSeries { clients: ClientSet::All, ..first.clone() };
        for part in parts {
            sum.buckets.iter_mut().zip(&part.buckets).for_each(|(sum, part)| sum.add(part));
        }
        charted.push(Charted { heading, series: sum, is_sum: true });
    }
    charted
}

/// For each series a row for throughput and one for latency.
pub(super) fn op_rows(all: &[Charted], outages: &[Outage], grid: &Grid) -> Vec<Row> {
    let buckets = || all.iter().filter(|charted| !charted.is_sum).flat_map(|charted| &charted.series.buckets);
    let most_of = |charted: &Charted| charted.series.buckets.iter().map(Bucket::total).max().unwrap_or(0).max(1);
    let most = buckets().map(Bucket::total).max().unwrap_or(0).max(1);
    let longest_ms = all
        .iter()
        .flat_map(|charted| &charted.series.buckets)
        .filter_map(|bucket| bucket.latency)
        .map(|latency| latency.max_ms)
        .fold(10.0, f64::max);
    let mut rows = Vec::new();
    let mut before = "";
    for (index, charted) in all.iter().enumerate() {
        let series = &charted.series;
        let most = if charted.is_sum { most_of(charted) } else { most };
        let heading = if before == charted.heading { String::new() } else { charted.heading.clone() };
        before = &charted.heading;
        let (kind, throughput_class, latency_class) = match series.kind {
            OpKind::Reads => ("reads", "chart reads", "chart reads latency"),
            OpKind::Writes => ("writes", "chart writes", "chart writes latency"),
        };
        let bands = || if charted.is_sum { Vec::new() } else { bands(series, outages, grid) };
        let row = Row { series: Some(index), shapes: bands(), units: grid.count, ..Row::default() };
        rows.push(Row {
            heading,
            label: format!("{kind}/s"),
            note: "issued".to_owned(),
            height_px: 46,
            class: throughput_class,
            paths: throughput(&series.buckets, most),
            scale: vec![Scale { y: "0".to_owned(), label: rate(most, grid) }],
            ..row
        });
        let (paths, scale) = latencies(&series.buckets, longest_ms);
        rows.push(Row {
            label: format!("{kind}: latency"),
            note: if charted.is_sum { "p50, p99, max of the worst" } else { "p50, p99, max" }.to_owned(),
            height_px: 58,
            class: latency_class,
            paths,
            scale,
            shapes: bands(),
            series: Some(index),
            units: grid.count,
            ..Row::default()
        });
    }
    rows
}

pub(super) fn rate(number: u64, grid: &Grid) -> String {
    format!("{}/s", count((number as f64 / grid.width_s()).round() as u64))
}

/// The outages of a series: a band over the whole height, or a mark at the top for an outage too short to see.
fn bands(series: &OpSeries, outages: &[Outage], grid: &Grid) -> Vec<Shape> {
    let of_it = outages
        .iter()
        .filter(|outage| (outage.shard, outage.of, outage.clients) == (series.shard, series.kind, series.clients));
    let mut all: Vec<&Outage> = of_it.collect();
    all.sort_by_key(|outage| std::cmp::Reverse(outage.to_ns.saturating_sub(outage.from_ns)));
    all.into_iter()
        .take(MOST_SHAPES)
        .map(|outage| {
            let window = Window { from_ns: outage.from_ns, to_ns: outage.to_ns };
            let (x, w) = place(window, grid);
            let is_wide = grid.part(window.to_ns) - grid.part(window.from_ns) > 0.008;
            let (h, class) = if is_wide { ("100%", "outage") } else { ("4", "blip") };
            let (h, class) = (h.to_owned(), class.to_owned());
            Shape { x, w, h, class, title: outage_words(outage), ..Shape::default() }
        })
        .collect()
}

/// `write outage on shard-1: 7.490 s from 4.000 s to 11.490 s, 801 operations not served`.
pub fn outage_words(outage: &Outage) -> String {
    let end = if outage.ended { "" } else { " (still open at the end)" };
    let (kind, told) = if outage.stall { ("stall", "answered late") } else { ("outage", "not served") };
    let of = match outage.of {
        OpKind::Reads => "read",
        OpKind::Writes => "write",
    };
    format!(
        "{of} {kind} on {}{}: {} from {} to {}{end}, {} {told}",
        outage.shard,
        outage.clients.by(),
        length(outage.length_ms()),
        at(outage.from_ns),
        at(outage.to_ns),
        counted(outage.unserved, "operation")
    )
}

/// Stacked areas, from the bottom: acknowledged, refused, unknown, not sent.
fn throughput(buckets: &[Bucket], most: u64) -> Vec<Path> {
    type Height = fn(&Bucket) -> u64;
    let heights: [(&str, Height); 4] = [
        ("unsent", Bucket::total),
        ("unknown", |bucket| bucket.ok + bucket.failed + bucket.unknown),
        ("refused", |bucket| bucket.ok + bucket.failed),
        ("ok", |bucket| bucket.ok),
    ];
    heights
        .into_iter()
        .map(|(class, height)| {
            let mut d = "M0 1000".to_owned();
            let mut level = u64::MAX;
            for (index, bucket) in buckets.iter().enumerate() {
                let y = 1000 - (height(bucket) as f64 / most as f64 * 1000.0).round() as u64;
                if y != level {
                    let _ = write!(d, "H{index}V{y}");
                    level = y;
                }
            }
            let _ = write!(d, "H{}V1000Z", buckets.len());
            Path { class, d }
        })
        .collect()
}

/// A logarithmic scale of latencies from 0.1 ms.
pub(super) struct LogScale {
    decades: f64,
}

impl LogScale {
    const LEAST_MS: f64 = 0.1;

    /// The scale on which the longest latency has room.
    pub(super) fn up_to(longest_ms: f64) -> Self {
        Self { decades: (longest_ms / Self::LEAST_MS).log10().ceil().max(1.0) }
    }

    /// The distance from the top in thousandths.
    fn y(&self, ms: f64) -> u64 {
        let part = (ms.max(Self::LEAST_MS) / Self::LEAST_MS).log10() / self.decades;
        (1000.0 - part * 1000.0).round().clamp(0.0, 1000.0) as u64
    }

    /// A line over the buckets, with gaps where nothing was acknowledged.
    pub(super) fn line(&self, buckets: &[Bucket], of: fn(&Latency) -> f64) -> String {
        line(buckets.iter().map(|bucket| bucket.latency.as_ref().map(|latency| self.y(of(latency)))))
    }

    /// The labels: of every second decade, so that they do not overlap.
    pub(super) fn labels(&self) -> Vec<Scale> {
        let decades = (1..self.decades as u32).filter(|decade| decade % 2 == 1).take(8);
        let label = |decade: u32| {
            let ms = Self::LEAST_MS * 10f64.powi(decade.cast_signed());
            Scale { y: percent(1.0 - f64::from(decade) / self.decades), label: decade_words(ms) }
        };
        decades.map(label).collect()
    }
}

/// A line of steps through these distances from the top, with gaps.
pub(super) fn line(heights: impl Iterator<Item = Option<u64>>) -> String {
    let mut d = String::new();
    let mut drawing = false;
    for (index, y) in heights.enumerate() {
        if let Some(y) = y {
            let _ = if drawing { write!(d, "V{y}h1") } else { write!(d, "M{index} {y}h1") };
        }
        drawing = y.is_some();
    }
    d
}

/// Lines and labels of latencies.
fn latencies(buckets: &[Bucket], longest_ms: f64) -> (Vec<Path>, Vec<Scale>) {
    let scale = LogScale::up_to(longest_ms);
    let mut spread = String::new();
    for (index, bucket) in buckets.iter().enumerate() {
        if let Some(latency) = &bucket.latency {
            let (top, bottom) = (scale.y(latency.p99_ms), scale.y(latency.p50_ms));
            if top < bottom {
                let _ = write!(spread, "M{index} {top}h1V{bottom}h-1Z");
            }
        }
    }
    let paths = [
        ("spread", spread),
        ("longest", scale.line(buckets, |latency| latency.max_ms)),
        ("p99", scale.line(buckets, |latency| latency.p99_ms)),
        ("p50", scale.line(buckets, |latency| latency.p50_ms)),
    ];
    (paths.into_iter().map(|(class, d)| Path { class, d }).collect(), scale.labels())
}

fn decade_words(ms: f64) -> String {
    if ms < 1000.0 { format!("{ms:.0} ms") } else { format!("{} s", crate::words::page::figure((ms / 1000.0).round())) }
}

pub(super) fn lag_row(all: &[LagSeries], grid: &Grid) -> Option<Row> {
    let most = all.iter().flat_map(|series| &series.most_bytes).flatten().copied().max()?;
    let paths = all.iter().take(64).map(|series| {
        let height = |bytes: u64| 1000 - (bytes as f64 / most.max(1) as f64 * 1000.0).round() as u64;
        let d = line(series.most_bytes.iter().map(|bytes| bytes.map(height)));
        Path { class: "lag", d }
    });
    Some(Row {
        heading: "Replication".to_owned(),
        label: "replica lag".to_owned(),
        note: "one line per replica".to_owned(),
        height_px: 46,
        class: "chart lags",
        paths: paths.collect(),
        units: grid.count,
        scale: vec![Scale { y: "0".to_owned(), label: bytes(most) }],
        ..Row::default()
    })
}

/// The numbers of all series as JSON: the number of buckets, and for each series the lists of ok, failed, unknown, p50, p99
/// and max in microseconds, and unsent, by bucket. It has no strings, so nothing in it can end its HTML element.
pub(super) fn data(grid: &Grid, all: &[Charted]) -> String {
    let numbers = |values: &mut dyn Iterator<Item = u64>| {
        let texts: Vec<String> =
            values.map(|value| if value == 0 { String::from("0") } else { value.to_string() }).collect();
        format!("[{}]", texts.join(","))
    };
    let micros = |ms: f64| (ms * 1000.0).round() as u64;
    let series: Vec<String> = all
        .iter()
        .map(|Charted { series, .. }| {
            let latency = |of: fn(&Latency) -> f64| {
                numbers(
                    &mut series
                        .buckets
                        .iter()
                        .map(|bucket| bucket.latency.as_ref().map_or(0, |latency| micros(of(latency)))),
                )
            };
            format!(
                "[{},{},{},{},{},{},{}]",
                numbers(&mut series.buckets.iter().map(|bucket| bucket.ok)),
                numbers(&mut series.buckets.iter().map(|bucket| bucket.failed)),
                numbers(&mut series.buckets.iter().map(|bucket| bucket.unknown)),
                latency(|latency| latency.p50_ms),
                latency(|latency| latency.p99_ms),
                latency(|latency| latency.max_ms),
                numbers(&mut series.buckets.iter().map(|bucket| bucket.unsent)),
            )
        })
        .collect();
    format!("{{\"count\":{},\"series\":[{}]}}", grid.count, series.join(","))
}
