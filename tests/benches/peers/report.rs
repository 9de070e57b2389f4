//! Turns runs into medians, medians into figures, and both into Markdown.
//!
//! Owns the arithmetic and the text. Invariant: a figure that was not measured is never met. Must not know how runs are made.

use std::fmt::Write as _;
use std::time::Duration;

use crate::measure::Sample;
use crate::workloads::{Against, Contestant, Figure, Output, Quantity, Workload};

const MEBIBYTE: f64 = 1_048_576.0;

/// All runs of one contestant in one workload.
pub(crate) struct Outcome {
    pub(crate) contestant: &'static Contestant,
    pub(crate) samples: Vec<Sample>,
    pub(crate) failures: Vec<String>,
    /// The program that is not there.
    pub(crate) missing: Option<&'static str>,
}

impl Outcome {
    pub(crate) fn new(contestant: &'static Contestant) -> Self {
        Self { contestant, samples: Vec::new(), failures: Vec::new(), missing: None }
    }

    /// Seconds, or bytes.
    fn median(&self, quantity: Quantity) -> Option<f64> {
        let mut values: Vec<_> = self.samples.iter().map(|sample| value(sample, quantity)).collect();
        values.sort_by(f64::total_cmp);
        let middle = values.len() / 2;
        match values.len() {
            0 => None,
            n if n % 2 == 1 => Some(values[middle]),
            _ => Some(f64::midpoint(values[middle - 1], values[middle])),
        }
    }
}

fn value(sample: &Sample, quantity: Quantity) -> f64 {
    match quantity {
        Quantity::Wall => sample.wall.as_secs_f64(),
        Quantity::Cpu => sample.cpu.as_secs_f64(),
        Quantity::Memory => sample.memory as f64,
    }
}

pub(crate) struct Report {
    text: String,
    all_met: bool,
}

impl Report {
    pub(crate) fn new(facts: Vec<(String, String)>) -> Self {
        let rows = facts.into_iter().map(|(name, value)| vec![name, value]).collect();
        Self { text: format!("## Machine\n\n{}\n", table(&["fact", "value"], rows)), all_met: true }
    }

    pub(crate) fn add(&mut self, workload: &'static Workload, outcomes: &[Outcome]) {
        let runs = outcomes.iter().map(|outcome| contestant_row(workload, outcome)).collect();
        let head = ["contestant", "runs", "wall s, median (min–max)", "CPU s", "peak MiB", "rate"];
        let _ = write!(
            self.text,
            "## {}\n\n{}.\n\n{}\n",
            workload.name,
            sentence(workload.title),
            table(&head, runs)
        );
        let mut rows = Vec::new();
        for figure in workload.figures {
            let measured = measured(figure, outcomes, workload);
            let reliable =
                outcomes.iter().all(|it| it.contestant.name != figure.subject || it.failures.is_empty());
            let met = reliable && measured.as_ref().is_some_and(|(number, _)| *number <= figure.limit);
            self.all_met &= met;
            let verdict = match (&measured, met) {
                (None, _) => "not measured",
                (_, true) => "met",
                (_, false) if !reliable => "**NOT met**: runs failed",
                (_, false) => "**NOT met**",
            };
            let shown = measured.map_or_else(String::new, |(_, shown)| shown);
            rows.push(vec![requirement(figure), shown, verdict.to_owned()]);
        }
        let _ = writeln!(self.text, "{}", table(&["required", "measured", "verdict"], rows));
        for failure in outcomes.iter().flat_map(|it| it.failures.iter().map(|why| (it.contestant.name, why)))
        {
            let _ = writeln!(self.text, "- {} FAILED: {}", failure.0, failure.1);
        }
        for outcome in outcomes {
            if let Some(travelled) = outcome.samples.last().and_then(|sample| sample.travelled.as_ref()) {
                let _ = writeln!(self.text, "- {}: {travelled}", outcome.contestant.name);
            }
        }
        let disturbed: Vec<_> = outcomes.iter().filter_map(disturbed).collect();
        if !disturbed.is_empty() {
            let _ = writeln!(self.text, "- runs disturbed by other processes: {}", disturbed.join(", "));
        }
        if !self.text.ends_with("\n\n") {
            self.text.push('\n');
        }
    }

    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    pub(crate) fn all_met(&self) -> bool {
        self.all_met
    }
}

fn disturbed(outcome: &Outcome) -> Option<String> {
    let count = outcome.samples.iter().filter(|sample| sample.foreign > crate::DISTURBED).count();
    (count > 0).then(|| format!("{count} of {} {}", outcome.samples.len(), outcome.contestant.name))
}

fn sentence(title: &str) -> String {
    let mut letters = title.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

fn contestant_row(workload: &Workload, outcome: &Outcome) -> Vec<String> {
    let name = outcome.contestant.name.to_owned();
    if let Some(program) = outcome.missing {
        return vec![
            name,
            "0".to_owned(),
            format!("missing: `{program}`"),
            String::new(),
            String::new(),
            String::new(),
        ];
    }
    let medians = [Quantity::Wall, Quantity::Cpu, Quantity::Memory].map(|quantity| outcome.median(quantity));
    let [Some(wall), Some(cpu), Some(memory)] = medians else {
        return vec![name, "0".to_owned(), "failed".to_owned(), String::new(), String::new(), String::new()];
    };
    let least =
        outcome.samples.iter().map(|sample| sample.wall).min().unwrap_or(Duration::ZERO).as_secs_f64();
    let most = outcome.samples.iter().map(|sample| sample.wall).max().unwrap_or(Duration::ZERO).as_secs_f64();
    let files = outcome.contestant.files(workload) as f64;
    let (cpu, rate) = if files > 1.0 {
        let (one, many) =
            if workload.output == Output::Listing { ("an entry", "entries") } else { ("a file", "files") };
        (format!("{cpu:.2} ({:.0} µs {one})", cpu / files * 1e6), format!("{:.0} {many}/s", files / wall))
    } else {
        (format!("{cpu:.2}"), format!("{:.0} MB/s", workload.output.file_size() as f64 / wall / 1e6))
    };
    let failed = if outcome.failures.is_empty() {
        String::new()
    } else {
        format!(" ({} failed)", outcome.failures.len())
    };
    vec![
        name,
        format!("{}{failed}", outcome.samples.len()),
        format!("{wall:.2} ({least:.2}–{most:.2})"),
        cpu,
        format!("{:.1}", memory / MEBIBYTE),
        rate,
    ]
}

/// What `figure` comes to, and how.
fn measured(figure: &Figure, outcomes: &[Outcome], workload: &Workload) -> Option<(f64, String)> {
    let median = |name: &str| {
        outcomes
            .iter()
            .find(|outcome| outcome.contestant.name == name)
            .and_then(|outcome| outcome.median(figure.quantity))
    };
    let files = |name: &str| {
        outcomes
            .iter()
            .find(|outcome| outcome.contestant.name == name)
            .map(|it| it.contestant.files(workload) as f64)
    };
    let ours = median(figure.subject)?;
    Some(match figure.against {
        Against::Contestant(peer) => {
            let theirs = median(peer)?;
            (ours / theirs, format!("{:.2} ({ours:.3} s : {theirs:.3} s)", ours / theirs))
        }
        Against::Best(peers) => {
            let all: Option<Vec<_>> = peers.iter().map(|peer| Some((median(peer)?, *peer))).collect();
            let (theirs, best) = all?.into_iter().min_by(|one, other| one.0.total_cmp(&other.0))?;
            (ours / theirs, format!("{:.2} ({ours:.3} s : {theirs:.3} s of {best})", ours / theirs))
        }
        Against::Ideal(seconds) => {
            (ours / seconds, format!("{:.2} ({ours:.2} s : {seconds:.2} s)", ours / seconds))
        }
        Against::Mebibytes => (ours / MEBIBYTE, format!("{:.1} MiB", ours / MEBIBYTE)),
        Against::BytesPerItem(base) => {
            let items = files(figure.subject)? - files(base)?;
            let each = (ours - median(base)?) / items;
            (each, format!("{each:.0} bytes ({:.1} MiB over {items} items)", each * items / MEBIBYTE))
        }
    })
}

fn requirement(figure: &Figure) -> String {
    let quantity = match figure.quantity {
        Quantity::Wall => "wall",
        Quantity::Cpu => "CPU",
        Quantity::Memory => "peak memory",
    };
    let limit = figure.limit;
    match figure.against {
        Against::Contestant(peer) => format!("{quantity} of {} ≤ {limit} × {peer}", figure.subject),
        Against::Best(peers) => {
            format!("{quantity} of {} ≤ {limit} × the best of {}", figure.subject, peers.join(", "))
        }
        Against::Ideal(seconds) => {
            format!("{quantity} of {} ≤ {limit} × ideal ({seconds:.2} s)", figure.subject)
        }
        Against::Mebibytes => format!("{quantity} of {} ≤ {limit} MiB", figure.subject),
        Against::BytesPerItem(base) => {
            format!("{quantity} an item, {} over {base}, ≤ {limit} bytes", figure.subject)
        }
    }
}

/// The workloads and what is required, for `--list`.
pub(crate) fn list(workloads: &[&Workload]) -> String {
    let mut text = String::new();
    for workload in workloads {
        let _ = writeln!(text, "{:13} {}", workload.name, workload.title);
        for figure in workload.figures {
            let _ = writeln!(text, "{:13}   {}", "", requirement(figure));
        }
    }
    text
}

/// Markdown with columns that also line up on a terminal.
fn table(head: &[&str], rows: Vec<Vec<String>>) -> String {
    let mut all = vec![head.iter().map(|&cell| cell.to_owned()).collect::<Vec<_>>()];
    all.extend(rows);
    let width = |column: usize| all.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<_> = (0..head.len()).map(width).collect();
    let mut text = String::new();
    for (index, row) in all.iter().enumerate() {
        for (cell, width) in row.iter().zip(&widths) {
            let _ = write!(text, "| {cell:width$} ");
        }
        text.push_str("|\n");
        if index == 0 {
            widths.iter().for_each(|width| text.push_str(&format!("|{}", "-".repeat(width + 2))));
            text.push_str("|\n");
        }
    }
    text
}
