//! The conformance suite of writers: what every [`Writer`] must do, whatever it writes to.
//!
//! Owns the cases. Invariant: a case that does not apply to a writer is declared by it, reported and printed.
//! Must not know: how any writer works. Rows: pulp A3 (a failure leaves nothing), A5 (zero bytes).
//!
//! ```no_run
//! # async fn example() {
//! use downloader_core::write::MemoryWriter;
//! use downloader_tests::suite::writers::{self, Case};
//!
//! let report = writers::all("memory", || {
//!     let (writer, memory) = MemoryWriter::new(16 << 20);
//!     Case::new(writer).shows(move || memory.bytes().map(|bytes| bytes.to_vec())).at_most(16 << 20)
//! });
//! assert_eq!(report.await.not_applied(), ["large_offsets", "a_drop_is_taken_up_again"]);
//! # }
//! ```

use std::ops::Range;

use bytes::Bytes;
use downloader_core::{Access, Entity, Provenance, SourceId, Writer};

use super::report::{NotApplied, Report, Verdict};

/// A fresh writer, and what can be seen of it from outside.
pub struct Case {
    writer: Box<dyn Writer>,
    sight: Sight,
    litter: Box<dyn Fn() -> Vec<String>>,
    again: Option<Box<dyn Fn() -> Box<dyn Writer>>>,
    keeps: bool,
    at_most: u64,
}

/// How the content can be seen.
enum Sight {
    Never,
    /// As the bytes come.
    AtOnce(Box<dyn Fn() -> Vec<u8>>),
    /// From `commit` on.
    AtCommit(Box<dyn Fn() -> Option<Vec<u8>>>),
}

impl Case {
    /// A writer whose content nobody can see, that leaves nothing, and takes any number of bytes.
    #[must_use]
    pub fn new(writer: impl Writer + 'static) -> Self {
        Self {
            writer: Box::new(writer),
            sight: Sight::Never,
            litter: Box::new(Vec::new),
            again: None,
            keeps: false,
            at_most: u64::MAX,
        }
    }

    /// The content is visible from `commit` on, through this; `None` before.
    #[must_use]
    pub fn shows(mut self, content: impl Fn() -> Option<Vec<u8>> + 'static) -> Self {
        self.sight = Sight::AtCommit(Box::new(content));
        self
    }

    /// The content is visible as it comes, through this.
    #[must_use]
    pub fn shows_at_once(mut self, content: impl Fn() -> Vec<u8> + 'static) -> Self {
        self.sight = Sight::AtOnce(Box::new(content));
        self
    }

    /// Names everything the writer has left, the content apart.
    #[must_use]
    pub fn litter(mut self, litter: impl Fn() -> Vec<String> + 'static) -> Self {
        self.litter = Box::new(litter);
        self
    }

    /// Makes another writer to the same place, as a later run does.
    #[must_use]
    pub fn again<W: Writer + 'static>(mut self, again: impl Fn() -> W + 'static) -> Self {
        self.again = Some(Box::new(move || Box::new(again())));
        self
    }

    /// Declares that a writer which is dropped keeps what it has, for a later run.
    #[must_use]
    pub fn keeps(mut self) -> Self {
        self.keeps = true;
        self
    }

    /// Declares that the writer takes no byte from this offset on.
    #[must_use]
    pub fn at_most(mut self, bytes: u64) -> Self {
        self.at_most = bytes;
        self
    }
}

const NOT_RANDOM: NotApplied = "the writer takes bytes in order";
const NOT_OBSERVABLE: NotApplied = "not observable";

/// Runs every case with a fresh writer, and prints the report.
///
/// # Panics
/// When the writer does not do what it must; the message names the writer and the case.
pub async fn all(name: &str, make: impl Fn() -> Case) -> Report {
    let mut report = Report::of(format!("writer {name}"));
    macro_rules! run {
        ($($case:ident)*) => {$({
            let case = Running { case: make(), name: format!("writer {name}: {}", stringify!($case)) };
            report.add(stringify!($case), $case(case).await);
        })*};
    }
    run! {
        a_fresh_place_holds_nothing
        commit_shows_exactly_the_bytes
        zero_bytes_are_a_content
        many_odd_chunks_in_order
        an_unknown_size_is_no_hindrance
        nothing_shows_before_commit
        a_drop_leaves_nothing
        bytes_in_any_order
        bytes_are_read_back
        the_same_bytes_twice
        discard_starts_over
        large_offsets
        a_drop_is_taken_up_again
    }
    show(&report);
    report
}

#[expect(clippy::print_stdout, reason = "what was not tested must be seen")]
fn show(report: &Report) {
    print!("{report}");
}

/// A case under way.
struct Running {
    case: Case,
    name: String,
}

impl Running {
    async fn begin(&mut self, size: Option<u64>) {
        let held = self.case.writer.held().await;
        assert!(held.expect(&self.name).ranges.is_empty(), "{}: something is held", self.name);
        self.case.writer.begin(&origin(size)).await.expect(&self.name);
    }

    async fn write(&mut self, offset: u64, chunk: &[u8]) {
        self.case.writer.write(offset, Bytes::copy_from_slice(chunk)).await.expect(&self.name);
    }

    /// Commits, and looks at what is visible then.
    async fn commit(mut self, expected: &[u8]) -> Verdict {
        self.case.writer.commit().await.expect(&self.name);
        for after in ["after commit", "after the writer is dropped"] {
            match &self.case.sight {
                Sight::Never => {}
                Sight::AtOnce(show) => self.same(after, Some(&show()), expected),
                Sight::AtCommit(show) => self.same(after, show().as_deref(), expected),
            }
            let litter = (self.case.litter)();
            assert!(litter.is_empty(), "{}: {after} there is {litter:?}", self.name);
            self.case.writer = Box::new(Gone);
        }
        if matches!(self.case.sight, Sight::Never) { Err(NOT_OBSERVABLE) } else { Ok(()) }
    }

    fn same(&self, when: &str, found: Option<&[u8]>, expected: &[u8]) {
        let found = found.unwrap_or_else(|| panic!("{}: {when} nothing is visible", self.name));
        let differ = found.iter().zip(expected).position(|(a, b)| a != b);
        let lengths = (found.len(), expected.len());
        assert!(found == expected, "{}: {when} wrong at byte {differ:?}, lengths {lengths:?}", self.name);
    }

    fn invisible(&self, when: &str) {
        if let Sight::AtCommit(show) = &self.case.sight {
            assert!(show().is_none(), "{}: visible {when}", self.name);
        }
    }

    fn random(&self) -> Verdict {
        if self.case.writer.access() == Access::Random { Ok(()) } else { Err(NOT_RANDOM) }
    }

    /// Reads a range back, however many calls that takes.
    async fn read(&mut self, range: Range<u64>) -> Vec<u8> {
        let mut all = Vec::new();
        let mut at = range.start;
        while at < range.end {
            let piece = self.case.writer.read(at..range.end).await.expect(&self.name);
            let taken = piece.len() as u64;
            assert!(
                taken > 0 && taken <= range.end - at,
                "{}: {taken} bytes for {at}..{}",
                self.name,
                range.end
            );
            all.extend_from_slice(&piece);
            at += taken;
        }
        all
    }
}

/// Stands where a writer was dropped.
#[derive(Debug)]
struct Gone;

#[async_trait::async_trait]
impl Writer for Gone {
    async fn write(&mut self, _: u64, _: Bytes) -> downloader_core::Result<()> {
        Ok(())
    }

    async fn commit(&mut self) -> downloader_core::Result<()> {
        Ok(())
    }
}

fn origin(size: Option<u64>) -> Provenance {
    let tag = Some("\"suite\"".parse().expect("it is a tag"));
    let url = "https://source.example/suite".parse().expect("it is a URL");
    Provenance { entity: Entity { size, tag, ..Entity::default() }, source: SourceId::Url(url) }
}

fn content(length: usize, seed: u64) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(seed);
    std::iter::repeat_with(|| random.u8(..)).take(length).collect()
}

/// Cuts a content into chunks of odd sizes, in order.
fn chunks(length: usize, longest: usize, seed: u64) -> Vec<Range<usize>> {
    let (mut random, mut at, mut chunks) = (fastrand::Rng::with_seed(seed), 0, Vec::new());
    while at < length {
        let end = (at + random.usize(1..=longest)).min(length);
        chunks.push(at..end);
        at = end;
    }
    chunks
}

async fn a_fresh_place_holds_nothing(mut case: Running) -> Verdict {
    let held = case.case.writer.held().await.expect(&case.name);
    assert!(held.ranges.is_empty() && held.provenance.is_none(), "{}: {held:?}", case.name);
    case.invisible("after held");
    let litter = (case.case.litter)();
    assert!(litter.is_empty(), "{}: held left {litter:?}", case.name);
    Ok(())
}

async fn commit_shows_exactly_the_bytes(mut case: Running) -> Verdict {
    case.begin(Some(11)).await;
    case.write(0, b"hello ").await;
    case.write(6, b"world").await;
    case.commit(b"hello world").await
}

async fn zero_bytes_are_a_content(mut case: Running) -> Verdict {
    case.begin(Some(0)).await;
    case.commit(b"").await
}

async fn many_odd_chunks_in_order(mut case: Running) -> Verdict {
    let content = content(3_000_017, 1);
    case.begin(Some(content.len() as u64)).await;
    for chunk in chunks(content.len(), 20_000, 2) {
        case.write(chunk.start as u64, &content[chunk]).await;
    }
    case.commit(&content).await
}

async fn an_unknown_size_is_no_hindrance(mut case: Running) -> Verdict {
    case.begin(None).await;
    case.write(0, b"hello").await;
    case.write(5, b"").await;
    case.write(5, b" you").await;
    case.commit(b"hello you").await
}

async fn nothing_shows_before_commit(mut case: Running) -> Verdict {
    match case.case.sight {
        Sight::Never => return Err(NOT_OBSERVABLE),
        Sight::AtOnce(_) => return Err("the content is visible as it comes"),
        Sight::AtCommit(_) => {}
    }
    case.invisible("at first");
    case.begin(Some(10)).await;
    case.invisible("after begin");
    for offset in 0..10u8 {
        case.write(offset.into(), &[offset]).await;
        case.invisible("before commit");
    }
    case.commit(&[0, 1, 2, 3, 4, 5, 6, 7, 8, 9]).await
}

async fn a_drop_leaves_nothing(mut case: Running) -> Verdict {
    if case.case.keeps {
        return Err("the writer keeps what it has");
    }
    case.begin(Some(2_000_000)).await;
    case.write(0, &content(1_500_000, 3)).await;
    case.case.writer = Box::new(Gone);
    case.invisible("after a drop");
    let litter = (case.case.litter)();
    assert!(litter.is_empty(), "{}: a drop left {litter:?}", case.name);
    Ok(())
}

async fn bytes_in_any_order(mut case: Running) -> Verdict {
    case.random()?;
    let content = content(2_000_003, 4);
    case.begin(Some(content.len() as u64)).await;
    let mut order = chunks(content.len(), 30_000, 5);
    fastrand::Rng::with_seed(6).shuffle(&mut order);
    for chunk in order {
        case.write(chunk.start as u64, &content[chunk]).await;
    }
    case.commit(&content).await
}

async fn bytes_are_read_back(mut case: Running) -> Verdict {
    case.random()?;
    let content = content(1_234_567, 7);
    case.begin(None).await;
    let mut random = fastrand::Rng::with_seed(8);
    let mut order = chunks(content.len(), 100_000, 9);
    random.shuffle(&mut order);
    let mut written: Vec<Range<usize>> = Vec::new();
    for chunk in order {
        case.write(chunk.start as u64, &content[chunk.clone()]).await;
        written.push(chunk);
        let whole = written[random.usize(..written.len())].clone();
        let start = random.usize(whole.clone());
        let part = start..random.usize(start + 1..=whole.end);
        let read = case.read(part.start as u64..part.end as u64).await;
        assert!(read == content[part.clone()], "{}: {part:?} reads back wrong", case.name);
    }
    let all = case.read(0..content.len() as u64).await;
    assert!(all == content, "{}: the whole reads back wrong", case.name);
    case.commit(&content).await
}

async fn the_same_bytes_twice(mut case: Running) -> Verdict {
    case.random()?;
    let content = content(100_000, 10);
    case.begin(Some(content.len() as u64)).await;
    for chunk in [0..60_000, 40_000..100_000, 10..20, 0..100_000] {
        case.write(chunk.start as u64, &content[chunk]).await;
    }
    case.commit(&content).await
}

async fn discard_starts_over(mut case: Running) -> Verdict {
    case.begin(Some(1_100_000)).await;
    case.write(0, &content(1_100_000, 11)).await;
    if let Err(error) = case.case.writer.discard().await {
        assert!(case.random().is_err(), "{}: a writer of random access must forget: {error}", case.name);
        return Err("the writer cannot forget");
    }
    case.invisible("after discard");
    case.case.writer.begin(&origin(Some(3))).await.expect(&case.name);
    case.write(0, b"new").await;
    case.commit(b"new").await
}

async fn large_offsets(mut case: Running) -> Verdict {
    const FAR: u64 = 5 << 30;
    case.random()?;
    if case.case.at_most <= FAR + 5 {
        return Err("the writer takes less");
    }
    case.begin(Some(FAR + 5)).await;
    case.write(FAR, b"there").await;
    case.write(0, b"here").await;
    assert_eq!(case.read(FAR..FAR + 5).await, b"there", "{}", case.name);
    assert_eq!(case.read(0..4).await, b"here", "{}", case.name);
    Ok(())
}

async fn a_drop_is_taken_up_again(mut case: Running) -> Verdict {
    let Some(again) = case.case.again.take() else { return Err("there is no later run") };
    let content = content(2_345_678, 12);
    let size = content.len() as u64;
    let done = [0..700_000, 1_000_000..1_000_001, 1_500_000..2_345_678];
    let sequential = case.random().is_err();
    case.begin(Some(size)).await;
    for chunk in if sequential { &done[..1] } else { &done[..] } {
        case.write(chunk.start as u64, &content[chunk.clone()]).await;
    }
    case.case.writer = Box::new(Gone);
    case.invisible("after a drop");

    case.case.writer = again();
    let held = case.case.writer.held().await.expect(&case.name);
    assert!(case.case.keeps || held.ranges.is_empty(), "{}: undeclared, but kept: {held:?}", case.name);
    assert!(!case.case.keeps || held.ranges.total() > 0, "{}: declared, but not kept", case.name);
    if let Some(provenance) = &held.provenance {
        assert_eq!(*provenance, origin(Some(size)), "{}", case.name);
    }
    if sequential {
        assert_eq!(held.ranges.prefix(), held.ranges.total(), "{}: not a prefix: {held:?}", case.name);
    } else {
        for range in held.ranges.iter() {
            let read = case.read(range.clone()).await;
            let expected = &content[range.start as usize..range.end as usize];
            assert!(read == expected, "{}: {range:?} is held and wrong", case.name);
        }
    }
    case.case.writer.begin(&origin(Some(size))).await.expect(&case.name);
    for gap in held.ranges.gaps(0..size) {
        case.write(gap.start, &content[gap.start as usize..gap.end as usize]).await;
    }
    case.commit(&content).await
}
