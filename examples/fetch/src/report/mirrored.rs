//! What is told of a mirror: names that need no download, and the sum of it all.
//!
//! Invariant: every name is told once, by what became of it; names are shown harmless to a terminal. Must not know: how it was
//! found out.

use std::path::Path;
use std::time::Duration;

use downloader_core::Error;
use downloader_core::tree::{Change, Notice, Summary};
use indicatif::HumanBytes;

use super::{Report, Style};
use crate::account::{Left, account};
use crate::exit::Class;
use crate::json::Line;
use crate::lists::shown;
use crate::summary::speed;

impl Report {
    /// A name of a mirror that needs no download, or none any more.
    pub(crate) fn noticed(&mut self, notice: &Notice, directory: &Path) {
        if let Change::Failed(error) = &notice.change {
            self.count_failure(error);
            let path = shown(&directory.join(notice.place.as_path()).to_string_lossy());
            self.tell(&told(&path, error));
            if matches!(self.style, Style::Json) {
                self.attempts_of(0, &path, error.attempts());
            }
        }
        self.mirrored(notice);
    }

    /// What became of a name, as an event.
    pub(super) fn mirrored(&mut self, notice: &Notice) {
        if matches!(self.style, Style::Json) {
            let message = match &notice.change {
                Change::Failed(error) => Some(error.to_string()),
                _ => None,
            };
            let (name, url) = (notice.place.to_string(), notice.url.as_ref().map(ToString::to_string));
            let change = notice.change.as_str();
            self.line(&Line::Mirrored { name: &name, url, change, message: message.as_deref() });
        }
    }

    /// The mirror is over: removes what is to be removed, unless the user ended it.
    pub(super) fn close_mirror(&mut self, elapsed: Duration) {
        let Some((ledger, directory)) = self.ledger.take() else { return };
        let summary = match self.tally.class {
            Class::Interrupted => ledger.summary(),
            _ => ledger.close(|notice| self.noticed(notice, &directory)),
        };
        if let Some(error) = &summary.spared {
            // What made the listing incomplete was told, and counted, before.
            if summary.complete {
                self.tally.class = self.tally.class.and(error.kind().into());
            }
            self.tell(&format!("fetch: nothing was removed: {}\n", error.what()));
        }
        match self.style {
            Style::Silent | Style::Format(_) => {}
            Style::Plain => self.tell(&sum(&summary, elapsed)),
            Style::Json => self.line(&Line::Mirror {
                new: summary.new,
                changed: summary.changed,
                kept: summary.kept,
                removed: summary.removed,
                failed: summary.failed,
                reused: summary.reused,
                bytes: summary.bytes,
                received: summary.received,
                complete: summary.complete,
                spared: summary.spared.as_ref().map(ToString::to_string),
            }),
        }
    }
}

/// Why a name is not there, or a folder was not listed.
fn told(path: &str, error: &Error) -> String {
    match error.attempts() {
        // Nobody was asked: there is no story to tell.
        [] => format!("fetch: {path}: {}\n", error.what()),
        _ => account(path, error, Left::Nothing),
    }
}

fn sum(summary: &Summary, elapsed: Duration) -> String {
    let (bytes, seconds) = (HumanBytes(summary.bytes), elapsed.as_secs_f64());
    format!("{summary}: {bytes} in {seconds:.1} s ({})\n", speed(summary.received, elapsed))
}
