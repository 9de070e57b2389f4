//! Tests of the report: what is told in each style, and the class of the run.

use downloader_core::ErrorKind;

use super::*;
use crate::account::Left;

/// What was written, to be looked at while the report lives.
#[derive(Clone, Default)]
struct Seen(Arc<Mutex<Vec<u8>>>);

impl Write for Seen {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Seen {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

/// Like a pipe whose reader went away.
struct Gone;

impl Write for Gone {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(io::ErrorKind::BrokenPipe.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn item(number: u32, name: &str) -> Item {
    let url = "http://u:s3cret@h/f?t=s3cret".parse().unwrap();
    let path = Some(name.into());
    Item { number, name: name.into(), path, place: None, url, left: Left::Partial, planned: None }
}

fn report(style: Style) -> (Report, Seen) {
    let seen = Seen::default();
    (Report::new(style, Box::new(seen.clone()), Box::new(io::sink())), seen)
}

fn error(kind: ErrorKind) -> Error {
    Error::new(kind, "what happened")
}

#[test]
fn many_are_summed_up_and_several_classes_are_other() {
    let (mut report, seen) = report(Style::Plain);
    report.ended(&item(1, "a"), &Err(error(ErrorKind::NotFound)));
    report.skipped(&item(2, "b"));
    report.refused(3, "list.txt", &Error::input("line 3: nonsense"));
    assert_eq!(report.finish(), Class::Other);
    assert!(seen.text().starts_with("0 done, 2 failed, 1 skipped: 0 B in "), "{}", seen.text());
}

#[test]
fn one_class_is_the_class_of_the_run() {
    let (mut report, seen) = report(Style::Silent);
    report.ended(&item(1, "a"), &Err(error(ErrorKind::Integrity)));
    report.ended(&item(2, "b"), &Err(error(ErrorKind::Changed)));
    assert_eq!(report.finish(), Class::Integrity);
    assert_eq!(seen.text(), "");
}

#[test]
fn events_are_lines_of_json_without_secrets() {
    let (mut report, seen) = report(Style::Json);
    report.started(&item(1, "a"), Arc::default);
    report.ended(&item(1, "a"), &Err(error(ErrorKind::Busy)));
    report.interrupted(true);
    assert_eq!(report.finish(), Class::Interrupted);
    let text = seen.text();
    let events: Vec<serde_json::Value> =
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let kinds: Vec<_> = events.iter().map(|event| event["event"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["started", "failed", "summary"]);
    assert_eq!((&events[1]["exit"], &events[2]["exit"]), (&9.into(), &130.into()));
    assert!(!text.contains("s3cret"), "{text}");
}

#[test]
fn a_format_is_filled_in_for_each_file() {
    let (mut report, seen) = report(Style::Format(Template::parse("%{name} %{result} %{url}\\n").unwrap()));
    report.skipped(&item(1, "a"));
    report.ended(&item(2, "b"), &Err(error(ErrorKind::Busy)));
    report.finish();
    assert_eq!(seen.text(), "a skipped http://***@h/f?t=***\nb failed http://***@h/f?t=***\n");
}

#[test]
fn a_broken_standard_output_is_told_at_the_end() {
    let complaints = Seen::default();
    let mut report = Report::new(Style::Json, Box::new(Gone), Box::new(complaints.clone()));
    report.skipped(&item(1, "a"));
    report.tick();
    report.skipped(&item(2, "b"));
    assert_eq!(report.finish(), Class::Local);
    assert_eq!(complaints.text(), "fetch: cannot write to standard output: broken pipe\n");
}
