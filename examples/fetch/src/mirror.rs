//! `--mirror`: a folder that becomes what a folder of a server is.
//!
//! Invariant: names of the server are shown harmless to a terminal; nothing is asked before the whole command line was checked.
//! Must not know: how a mirror is planned.

use std::path::PathBuf;
use std::sync::Arc;

use clap::{Args, ValueEnum};
use downloader_core::listing::WalkOptions;
use downloader_core::tree::{Compare, Links, MaxDelete, Mirror, Planned, Step, Steps};
use downloader_core::write::Link;
use downloader_core::{Engine, Fixed, Job, Request, SafeUrl, Source};
use futures_util::{Stream, StreamExt, stream};
use tokio::sync::mpsc;

use crate::account::Left;
use crate::arguments::Arguments;
use crate::item::Item;
use crate::lists::{Entry, shown};
use crate::plan::Problem;
use crate::report::Shared;
use crate::terms::Terms;

/// Jobs that wait for their turn.
const AHEAD: usize = 16;

/// Options of mirrors.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Mirrors")]
pub(crate) struct Mirroring {
    /// Bring DIR to what the folder URL holds: http, https and file index pages and folders; only what is new or changed is fetched.
    #[arg(
        long, group = "walks", num_args = 2, value_names = ["URL", "DIR"],
        conflicts_with_all = ["urls", "input", "output", "dir", "mirrors", "checksum", "size", "max_size", "remote_header_name", "no_clobber", "write_out", "post_data", "post_file", "media_type", "test_archive", "not_html", "checksum_file"],
    )]
    pub(crate) mirror: Option<Vec<String>>,

    /// Remove what the server has no more; only after all of its folders were listed to their end.
    #[arg(long)]
    delete: bool,

    /// Remove nothing if it were more than this: a number, a part such as 20%, or none [default: 50%].
    #[arg(long, value_name = "N|N%|none", value_parser = most)]
    max_delete: Option<MaxDelete>,

    /// Only tell what would be done.
    #[arg(long)]
    dry_run: bool,

    /// Levels of folders below the first; what lies deeper is left alone.
    #[arg(long, value_name = "N")]
    depth: Option<usize>,

    /// What makes a file another one: its time or size, its size alone, the digest that the server tells; always fetches all.
    #[arg(long, value_name = "WHAT")]
    compare: Option<What>,

    /// Symbolic links of the server: left out, or made here where they stay inside DIR [default: skip].
    #[arg(long, value_name = "HOW")]
    links: Option<How>,

    /// Take what is the same in OLD_DIR, an earlier copy, from there.
    #[arg(long, value_name = "OLD_DIR")]
    pub(crate) reuse: Option<PathBuf>,

    /// How files of this machine are taken (--reuse, file://): as hard links, or as clones that share their blocks; copied where that cannot be.
    #[arg(long, value_name = "HOW")]
    link: Option<Linking>,
}

/// What --compare looks at.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum What {
    Time,
    Size,
    Digest,
    Always,
}

/// What --links does.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum How {
    Skip,
    Recreate,
}

/// What --link makes.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Linking {
    Hard,
    Reflink,
}

/// A mirror that is ready to begin.
#[derive(Debug)]
pub(crate) struct Prepared {
    mirror: Mirror,
    directory: PathBuf,
    left: Left,
}

impl Mirroring {
    /// The mirror that the command line asks for.
    pub(crate) fn prepare(
        &self,
        arguments: &Arguments,
        report: &Shared,
    ) -> Result<Option<Prepared>, Problem> {
        let Some([url, directory]) = self.mirror.as_deref() else { return Ok(None) };
        let url = SafeUrl::parse(url).map_err(Problem::of("--mirror"))?;
        let terms = Terms::of(arguments, report)?;
        let entry = Entry { urls: vec![url.clone()], ..Entry::default() };
        terms.allow(&entry).map_err(|what| Problem::new("--mirror", what))?;
        let first = Request::located(Arc::new(Fixed::new(vec![Source::new(url.clone())])));
        let request = terms.set(first, Some(&url)).map_err(Problem::of("--mirror"))?;
        let mut options = WalkOptions::default();
        options.selection = arguments.listing.selection();
        let mut mirror = Mirror::new(request, directory).walk(options).dry_run(self.dry_run);
        mirror = mirror.compare(match self.compare {
            None | Some(What::Time) => Compare::Time,
            Some(What::Size) => Compare::Size,
            Some(What::Digest) => Compare::Digest,
            Some(What::Always) => Compare::Always,
        });
        mirror = mirror.link(match self.link {
            None => Link::Copy,
            Some(Linking::Hard) => Link::Hard,
            Some(Linking::Reflink) => Link::Reflink,
        });
        if let Some(How::Recreate) = self.links {
            mirror = mirror.links(Links::Recreate);
        }
        if let Some(levels) = self.depth {
            mirror = mirror.depth(levels);
        }
        if self.delete {
            mirror = mirror.delete(self.max_delete.unwrap_or_default());
        }
        if let Some(earlier) = &self.reuse {
            mirror = mirror.reuse(earlier);
        }
        let left = if terms.resume { Left::Partial } else { Left::Nothing };
        let mirror = mirror.writers(move |writer| terms.mirrored(writer));
        Ok(Some(Prepared { mirror, directory: directory.into(), left }))
    }
}

impl Prepared {
    /// Begins: what is to be downloaded. Whoever walks meanwhile ends with the runtime, or when nobody takes it any more.
    pub(crate) fn begin(
        self,
        engine: &Engine,
        report: &Shared,
    ) -> Result<impl Stream<Item = Job<Item>> + Send + use<>, Problem> {
        let (steps, ledger) = self.mirror.start(engine).map_err(Problem::of("--mirror"))?;
        report.get().mirrors(ledger, self.directory.clone());
        let (send, receive) = mpsc::channel(AHEAD);
        let walker = Walker { directory: self.directory, left: self.left, report: report.clone(), number: 0 };
        // The listings stay on this runtime, whose connections they use.
        tokio::spawn(walker.walk(steps, send));
        Ok(stream::unfold(
            receive,
            |mut receive| async move { receive.recv().await.map(|job| (job, receive)) },
        ))
    }
}

/// Turns steps into downloads, and tells the others.
struct Walker {
    directory: PathBuf,
    left: Left,
    report: Shared,
    number: u32,
}

impl Walker {
    async fn walk(mut self, mut steps: Steps, send: mpsc::Sender<Job<Item>>) {
        while let Some(step) = steps.next().await {
            let wanted = match step {
                Step::Fetch(job) => send.send(self.job(*job)).await.is_ok(),
                Step::Told(notice) => {
                    self.report.get().noticed(&notice, &self.directory);
                    true
                }
                _ => true,
            };
            if !wanted {
                return;
            }
            // Of files that are here already thousands come at once.
            tokio::task::consume_budget().await;
        }
    }

    fn job(&mut self, job: Job<Planned>) -> Job<Item> {
        self.number = self.number.saturating_add(1);
        let meter = job.meter();
        let job = job.map(|planned| Item {
            number: self.number,
            name: shown(&planned.place.to_string()).into(),
            path: Some(self.directory.join(planned.place.as_path())),
            place: None,
            url: planned.url.clone(),
            left: self.left,
            planned: Some(planned),
        });
        self.report.get().started(job.tagged(), || meter);
        job
    }
}

fn most(text: &str) -> Result<MaxDelete, String> {
    text.parse().map_err(|error: downloader_core::Error| error.what().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Report;

    fn prepared(line: &[&str]) -> Result<Option<Prepared>, String> {
        let line = ["fetch", "--mirror", "http://h/d/", "out"].iter().chain(line);
        let arguments = Arguments::read(line).map_err(|error| error.to_string())?;
        let prepared = arguments.mirroring.prepare(&arguments, &Shared::new(Report::silent()));
        prepared.map_err(|problem| problem.to_string())
    }

    #[test]
    fn a_mirror_is_made_of_its_options() {
        let all = [
            "--delete",
            "--max-delete",
            "20%",
            "--dry-run",
            "--include",
            "*.rpm",
            "--exclude",
            "old/",
            "--depth",
            "3",
            "--compare",
            "digest",
            "--links",
            "recreate",
            "--reuse",
            "old",
            "--link",
            "hard",
        ];
        let shown = format!("{:?}", prepared(&all).unwrap().unwrap().mirror);
        assert!(shown.contains("Digest") && shown.contains("Percent(20)"), "{shown}");
        assert!(prepared(&[]).unwrap().is_some());
    }

    #[test]
    fn what_makes_no_sense_is_told() {
        for (line, words) in [
            (&["--max-delete", "5"][..], "--delete"),
            (&["--delete", "--max-delete", "much"], "such as 20%"),
            (&["--include", "[a"], "--include"),
            (&["http://h/f"], "cannot be used with"),
            (&["-o", "x"], "cannot be used with"),
            (&["--compare", "mood"], "digest"),
        ] {
            let problem = prepared(line).unwrap_err();
            assert!(problem.contains(words), "{line:?}: {problem}");
        }
        for alone in
            [&["--delete"][..], &["--reuse", "old"], &["--link", "hard"], &["--include", "*"], &["-r"]]
        {
            let line = [&["fetch", "http://h/f", "-o", "x"], alone].concat();
            let problem = Arguments::read(line).unwrap_err().to_string();
            assert!(problem.contains("--mirror") || problem.contains("--list"), "{problem}");
        }
    }
}
