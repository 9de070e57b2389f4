//! Owns the figures for Prometheus, in its text format 0.0.4.
//!
//! Invariant: the number of series is bounded, whatever callers name their groups. Must not know what a role counts: it passes on what each
//! instance tells.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse as _, Response};
use serde_json::Value;

use super::operations::ROLES;
use super::shared::Shared;
use crate::job::Queue;
use crate::store::{Counts, GroupView, Oldest, Result};

/// Groups with series of their own: those with the most work. The others are in the sums only.
const MOST_GROUPS: usize = 1000;
/// Figures of one instance that are passed on.
const MOST_FIGURES: usize = 200;

/// `GET /metrics`.
pub(super) async fn metrics(State(shared): State<Arc<Shared>>) -> Response {
    match written(&shared).await {
        Ok(text) => ([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response(),
        Err(error) => shared.store_problem(&error).into_response(),
    }
}

async fn written(shared: &Shared) -> Result<String> {
    let mut text = String::new();
    jobs(&mut text, &shared.store.counts().await?);
    groups(&mut text, shared.store.groups().await?);
    ages(&mut text, shared.store.oldest().await?);
    let mut told = Vec::new();
    for role in ROLES {
        for (instance, stats) in shared.store.stats(role).await? {
            told.push((role, instance, stats));
        }
    }
    instances(&mut text, &told);
    shared.figures.write(&mut text);
    Ok(text)
}

fn jobs(text: &mut String, counts: &Counts) {
    head(text, "downloader_jobs", "Jobs that are known, by the states of their download and their callback.");
    for (status, count) in counts {
        let labels = [("download", status.download.to_string()), ("callback", status.callback.to_string())];
        sample(text, "downloader_jobs", &labels, *count);
    }
}

fn groups(text: &mut String, mut groups: Vec<GroupView>) {
    type Figure = fn(&GroupView) -> u64;
    head(text, "downloader_groups", "Groups that are known.");
    sample(text, "downloader_groups", &[], groups.len() as u64);
    groups.sort_by_key(|group| std::cmp::Reverse(group.waiting() + group.running()));
    groups.truncate(MOST_GROUPS);
    let figures: [(&str, &str, Figure); 3] = [
        ("downloader_group_waiting", "Jobs of a group that wait for their download.", GroupView::waiting),
        ("downloader_group_running", "Downloads of a group that run.", GroupView::running),
        ("downloader_group_limit", "Downloads of a group that may run at the same time.", |group| {
            group.settings.effective().limit.get().into()
        }),
    ];
    for (name, help, figure) in figures {
        head(text, name, help);
        for group in &groups {
            sample(text, name, &[("group", group.name.clone())], figure(group));
        }
    }
}

/// A queue in which nothing is ready is not there: whoever alerts takes the highest.
fn ages(text: &mut String, mut oldest: Vec<Oldest>) {
    const NAME: &str = "downloader_queue_age_seconds";
    let what =
        "How long ago the oldest job was taken in that is ready for a queue, by group; for removals by site.";
    head(text, NAME, what);
    oldest.sort_by_key(|oldest| std::cmp::Reverse(oldest.age));
    for Oldest { queue, lane, age } in oldest.into_iter().take(MOST_GROUPS) {
        let lane_is = if queue == Queue::Removals { "site" } else { "group" };
        let queue = match queue {
            Queue::Downloads => "downloads",
            Queue::Callbacks => "callbacks",
            Queue::Removals => "removals",
        };
        sample(text, NAME, &[("queue", queue.to_owned()), (lane_is, lane)], age.as_secs_f64());
    }
}

/// Every figure that an instance tells, by its name.
fn instances(text: &mut String, told: &[(&str, String, String)]) {
    const NAME: &str = "downloader_stat";
    head(text, NAME, "What an instance of a role tells of itself, by the name of the figure.");
    for (role, instance, stats) in told {
        let mut figures = BTreeMap::new();
        flatten("", &serde_json::from_str(stats).unwrap_or_default(), &mut figures);
        for (figure, value) in figures.into_iter().take(MOST_FIGURES) {
            let labels = [("role", (*role).to_owned()), ("instance", instance.clone()), ("name", figure)];
            sample(text, NAME, &labels, value);
        }
    }
}

fn flatten(prefix: &str, value: &Value, figures: &mut BTreeMap<String, f64>) {
    match value {
        Value::Object(members) => {
            for (name, value) in members {
                let name = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
                flatten(&name, value, figures);
            }
        }
        Value::Number(number) => drop(figures.insert(prefix.to_owned(), number.as_f64().unwrap_or(0.0))),
        Value::Bool(flag) => drop(figures.insert(prefix.to_owned(), f64::from(u8::from(*flag)))),
        Value::Null | Value::String(_) | Value::Array(_) => {}
    }
}

fn head(text: &mut String, name: &str, help: &str) {
    let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} gauge"); // a text takes everything
}

fn sample(text: &mut String, name: &str, labels: &[(&str, String)], value: impl std::fmt::Display) {
    let escaped = |value: &str| value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
    let labels: Vec<_> =
        labels.iter().map(|(label, value)| format!("{label}=\"{}\"", escaped(value))).collect();
    let _ = match labels.is_empty() {
        true => writeln!(text, "{name} {value}"),
        false => writeln!(text, "{name}{{{}}} {value}", labels.join(",")),
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_escaped_and_figures_flat() {
        let mut text = String::new();
        sample(&mut text, "m", &[("group", "a\"b\\c\nd".to_owned())], 1);
        assert_eq!(text, "m{group=\"a\\\"b\\\\c\\nd\"} 1\n");
        let mut text = String::new();
        let stats = r#"{"alive":1,"download":{"response":{"200":7}},"sick":true,"host":"x","load":0.5}"#;
        instances(&mut text, &[("processor", "p1".to_owned(), stats.to_owned())]);
        for line in [
            r#"downloader_stat{role="processor",instance="p1",name="alive"} 1"#,
            r#"downloader_stat{role="processor",instance="p1",name="download.response.200"} 7"#,
            r#"downloader_stat{role="processor",instance="p1",name="load"} 0.5"#,
            r#"downloader_stat{role="processor",instance="p1",name="sick"} 1"#,
        ] {
            assert!(text.lines().any(|own| own == line), "{line} in {text}");
        }
        assert!(!text.contains("host"));
    }

    #[test]
    fn the_age_of_a_queue_names_its_group_or_site() {
        let oldest = |queue, lane: &str, milliseconds| Oldest {
            queue,
            lane: lane.to_owned(),
            age: std::time::Duration::from_millis(milliseconds),
        };
        let mut text = String::new();
        ages(&mut text, vec![oldest(Queue::Callbacks, "g", 500), oldest(Queue::Removals, "/d", 90_000)]);
        let samples: Vec<_> = text.lines().filter(|line| !line.starts_with('#')).collect();
        let expected = [
            r#"downloader_queue_age_seconds{queue="removals",site="/d"} 90"#,
            r#"downloader_queue_age_seconds{queue="callbacks",group="g"} 0.5"#,
        ];
        assert_eq!(samples, expected, "the oldest first: what is left out for their number is younger");
    }
}
