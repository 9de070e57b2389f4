//! Progress bars on a terminal: a line for each of the running downloads, up to a limit, and one for all.
//!
//! Invariant: a download that ends between two looks never gets a bar, so that many small files cost nothing. Must
//! not know: how downloads are done, or how they ended.

use std::io::IsTerminal;
use std::sync::Arc;

use downloader_core::Meter;
use indicatif::{HumanBytes, MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

const MOST_BARS: usize = 16;
const SIZED: &str = "{msg:28!} {bytes:>11} of {total_bytes:<11} {bytes_per_sec:>13} {eta:>4} {wide_bar}";
const UNSIZED: &str = "{msg:28!} {bytes:>11}                {bytes_per_sec:>13}";
const TOTAL: &str = "{msg}, {bytes_per_sec}, {elapsed}";

/// The bars of a run.
#[derive(Debug)]
pub(crate) struct Progress {
    bars: MultiProgress,
    total: ProgressBar,
    running: Vec<Running>,
    shown: usize,
    /// Bytes that the downloads which ended received.
    ended: u64,
}

#[derive(Debug)]
struct Running {
    item: u32,
    name: Box<str>,
    meter: Arc<Meter>,
    bar: Option<ProgressBar>,
}

impl Progress {
    /// Bars on standard error, if it is a terminal.
    pub(crate) fn on_terminal() -> Option<Self> {
        std::io::stderr().is_terminal().then(|| Self::new(ProgressDrawTarget::stderr_with_hz(10)))
    }

    fn new(target: ProgressDrawTarget) -> Self {
        let bars = MultiProgress::with_draw_target(target);
        let total = bars.add(ProgressBar::no_length().with_style(style(TOTAL)).with_message("starting"));
        Self { bars, total, running: Vec::new(), shown: 0, ended: 0 }
    }

    /// A download was taken up.
    pub(crate) fn begin(&mut self, item: u32, name: &str, meter: Arc<Meter>) {
        self.running.push(Running { item, name: name.into(), meter, bar: None });
    }

    /// A download ended.
    pub(crate) fn end(&mut self, item: u32) {
        let Some(at) = self.running.iter().position(|running| running.item == item) else { return };
        let ended = self.running.remove(at);
        self.ended += ended.meter.received();
        if let Some(bar) = ended.bar {
            bar.finish_and_clear();
            self.bars.remove(&bar);
            self.shown -= 1;
        }
    }

    /// Looks at the meters; called about ten times a second.
    pub(crate) fn tick(&mut self, done: u64, failed: u64) {
        let (mut received, mut started) = (self.ended, 0);
        for running in &mut self.running {
            let meter = &running.meter;
            received += meter.received();
            // What still waits for its turn has nothing to show.
            if meter.received() == 0 && meter.size().is_none() {
                continue;
            }
            started += 1;
            if running.bar.is_none() && self.shown < MOST_BARS {
                let bar = ProgressBar::no_length()
                    .with_style(style(UNSIZED))
                    .with_message(running.name.to_string());
                running.bar = Some(self.bars.insert_before(&self.total, bar));
                self.shown += 1;
            }
            if let Some(bar) = &running.bar {
                bar.set_position(meter.done());
                if let Some(size) = meter.size().filter(|size| bar.length() != Some(*size)) {
                    bar.set_length(size);
                    bar.set_style(style(SIZED));
                    // What was there before is not speed.
                    bar.reset_eta();
                }
            }
        }
        self.total.set_position(received);
        let failed = if failed == 0 { String::new() } else { format!(", {failed} failed") };
        let received = HumanBytes(received);
        self.total.set_message(format!("{started} running, {done} done{failed}: {received}"));
    }

    /// Does something to the terminal while no bar is on it.
    pub(crate) fn suspend<T>(&self, act: impl FnOnce() -> T) -> T {
        self.bars.suspend(act)
    }

    /// Takes the bars away.
    pub(crate) fn clear(&mut self) {
        for running in self.running.drain(..) {
            if let Some(bar) = running.bar {
                bar.finish_and_clear();
            }
        }
        self.total.finish_and_clear();
    }
}

fn style(template: &str) -> ProgressStyle {
    // The templates are constants, which a test reads; the default is never seen.
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_templates_are_sound() {
        for template in [SIZED, UNSIZED, TOTAL] {
            assert!(ProgressStyle::with_template(template).is_ok(), "{template}");
        }
    }

    #[test]
    fn what_has_nothing_to_show_gets_no_bar() {
        let mut progress = Progress::new(ProgressDrawTarget::hidden());
        for item in 0..40 {
            progress.begin(item, "f", Arc::new(Meter::default()));
        }
        progress.tick(0, 0);
        assert_eq!((progress.running.len(), progress.shown), (40, 0));
        for item in (0..40).rev() {
            progress.end(item);
        }
        progress.end(7);
        assert!(progress.running.is_empty());
        progress.clear();
    }
}
