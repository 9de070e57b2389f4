//! What a content must be, besides its digest: its media type, a whole archive, no page; and lists of digests.
//!
//! Invariant: patterns and kinds are read before anything is downloaded, lists of digests before what they speak of. Must
//! not know: how a check works, or which downloads there are.

use std::fs;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use downloader_checks::{ArchiveKind, ArchiveTest, MediaType, NotHtml};
use downloader_core::checksums::{Checksums, MAX_CHECKSUMS};
use downloader_core::{Engine, Error, Request, SafeUrl};
use downloader_http::RequestHeaders;

use crate::plan::Problem;

const WHAT: &str = "What";

/// The options of this file.
#[derive(Debug, Default, clap::Args)]
pub(crate) struct Checks {
    /// The content itself must show this media type: `image/*`, `!text/html`, or several separated by commas, all of which must hold; of several options one must. What the server says of it does not count.
    #[arg(long, value_name = "PATTERN", help_heading = WHAT)]
    media_type: Vec<String>,

    /// Test the archive while it comes, and keep no damaged one: by its name's ending, by its content, or as tar, gz, bz2, xz, zst, tar.gz, tar.bz2, tar.xz, tar.zst or zip; `none` tests nothing.
    #[arg(
        long, value_name = "KIND", num_args = 0..=1, require_equals = true, default_missing_value = "name",
        help_heading = WHAT
    )]
    test_archive: Option<Test>,

    /// The content must not be an HTML page, such as that of a login.
    #[arg(long, help_heading = WHAT)]
    not_html: bool,

    /// The content must have the digest that this list has for its name: of `sha256sum`, of BSD, or a digest alone. May be given several times.
    #[arg(long, value_name = "URL|FILE", help_heading = WHAT)]
    checksum_file: Vec<String>,
}

/// By what an archive is tested.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Test {
    None,
    Name,
    Content,
    Kind(ArchiveKind),
}

impl FromStr for Test {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "none" => Ok(Self::None),
            "name" => Ok(Self::Name),
            "content" => Ok(Self::Content),
            kind => kind.parse().map(Self::Kind).map_err(|_| {
                "expected name, content, none, tar, gz, bz2, xz, zst, tar.gz, tar.bz2, tar.xz, tar.zst or zip".into()
            }),
        }
    }
}

/// The same, ready to be set.
#[derive(Debug)]
pub(crate) struct Prepared {
    media_type: Option<MediaType>,
    test: Test,
    not_html: bool,
    lists: Vec<List>,
}

/// A list of digests.
#[derive(Debug)]
enum List {
    At(SafeUrl),
    Read(Checksums),
    /// Could not be had, and so could nothing that it speaks of.
    Lost(Error),
}

impl Checks {
    /// Reads patterns, and the lists that are files.
    pub(crate) fn prepare(&self) -> Result<Prepared, Problem> {
        let media_type = match &self.media_type[..] {
            [] => None,
            [one] => Some(MediaType::parse(one)),
            several => Some(MediaType::any_of(several.iter().map(String::as_str))),
        };
        Ok(Prepared {
            media_type: media_type.transpose().map_err(Problem::of("--media-type"))?,
            test: self.test_archive.unwrap_or(Test::None),
            not_html: self.not_html,
            lists: self.checksum_file.iter().map(|place| List::open(place)).collect::<Result<_, _>>()?,
        })
    }
}

impl List {
    fn open(place: &str) -> Result<Self, Problem> {
        if place.contains("://") {
            return SafeUrl::parse(place).map(Self::At).map_err(Problem::of("--checksum-file"));
        }
        let path = PathBuf::from(place);
        let problem = |what: String| Problem::new("--checksum-file", format!("{}: {what}", path.display()));
        let length = fs::metadata(&path).map_err(|error| problem(error.to_string()))?.len();
        if length > MAX_CHECKSUMS {
            return Err(problem(format!("longer than {MAX_CHECKSUMS} bytes")));
        }
        let text = fs::read(&path).map_err(|error| problem(error.to_string()))?;
        Checksums::parse(&text, place).map(Self::Read).map_err(|error| problem(error.what().to_owned()))
    }
}

impl Prepared {
    /// Is there a list that must be fetched?
    pub(crate) fn wants_lists(&self) -> bool {
        self.lists.iter().any(|list| matches!(list, List::At(_)))
    }

    /// Fetches the lists that are elsewhere, each once.
    pub(crate) async fn fetch_lists(&mut self, engine: &Engine, headers: Option<&RequestHeaders>) {
        for list in &mut self.lists {
            let List::At(url) = list else { continue };
            *list = match fetched(engine, url, headers).await {
                Ok(checksums) => List::Read(checksums),
                Err(error) => List::Lost(error),
            };
        }
    }

    /// The request with its checks. `name` is that of the URL, `target` that of the file.
    pub(crate) fn set(
        &self,
        mut request: Request,
        name: &str,
        target: Option<&Path>,
    ) -> Result<Request, Error> {
        let target = target.and_then(Path::file_name).map(|name| name.to_string_lossy().into_owned());
        for list in &self.lists {
            let digests = match list {
                List::Read(list) => list.of(name).or_else(|error| match &target {
                    Some(target) => list.of(target),
                    None => Err(error),
                })?,
                List::Lost(error) => return Err(error.clone()),
                // Nothing is asked for before they are fetched.
                List::At(_) => return Err(Error::unsupported("a list of digests that was not fetched")),
            };
            for digest in digests {
                request = request.check(digest);
            }
        }
        if let Some(media_type) = &self.media_type {
            request = request.check(media_type.clone());
        }
        if self.not_html {
            request = request.check(NotHtml);
        }
        Ok(match self.test {
            Test::None => request,
            Test::Name => request.check(ArchiveTest::named(target.as_deref().unwrap_or(name))),
            Test::Content => request.check(ArchiveTest::by_content()),
            Test::Kind(kind) => request.check(ArchiveTest::new(kind)),
        })
    }
}

async fn fetched(
    engine: &Engine,
    url: &SafeUrl,
    headers: Option<&RequestHeaders>,
) -> Result<Checksums, Error> {
    let mut request = Request::get(url.clone())?;
    if let Some(headers) = headers {
        request = request.option(headers.clone());
    }
    Checksums::fetch(engine, request).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_meant_is_told_by_its_option() {
        let checks = Checks { media_type: vec!["image/[".to_owned()], ..Checks::default() };
        assert!(checks.prepare().unwrap_err().to_string().starts_with("--media-type: "));
        let checks = Checks { checksum_file: vec!["nowhere.sha256".to_owned()], ..Checks::default() };
        assert!(checks.prepare().unwrap_err().to_string().starts_with("--checksum-file: nowhere.sha256: "));
        assert_eq!("tar.gz".parse::<Test>().unwrap().to_owned(), Test::Kind("tgz".parse().unwrap()));
        assert!("rar".parse::<Test>().unwrap_err().contains("content"));
    }
}
