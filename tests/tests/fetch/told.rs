//! What a run says: lines, summaries, formats, events, accounts of failures, exit codes.
//!
//! Invariant: what the README promises to scripts is read from the README. Must not know who says it.

use std::collections::{BTreeMap, BTreeSet};

use downloader_tests::kit::{Act, Resource, dead_address};

use super::World;
use super::program::{code, events, run};

const README: &str = include_str!("../../../examples/fetch/README.md");

/// `event` → fields, as the table says.
fn promised() -> BTreeMap<String, BTreeSet<String>> {
    let rows = README.lines().skip_while(|line| *line != "| `event` | fields |").skip(2);
    let mut found = BTreeMap::new();
    for row in rows.take_while(|line| line.starts_with('|')) {
        let mut cells = row.trim_matches('|').splitn(2, '|');
        let event = cells.next().unwrap().trim().trim_matches('`').to_owned();
        // What stands in parentheses explains a field.
        let (mut fields, mut depth) = (String::new(), 0);
        for c in cells.next().unwrap().chars() {
            match c {
                '(' => depth += 1,
                ')' => depth -= 1,
                c if depth == 0 => fields.push(c),
                _ => {}
            }
        }
        let fields = fields.split('`').skip(1).step_by(2).map(str::to_owned).collect();
        found.insert(event, fields);
    }
    assert_eq!(found.len(), 8, "{found:?}");
    found
}

#[tokio::test]
async fn events_are_lines_of_json_with_the_promised_fields() {
    let world = World::new().await;
    world.put("/a", 1000);
    world.put("/there", 10);
    world.server.put("/busy", Resource::act(Act::new().status(503)));
    world.fetch(&["@/there"]).await;
    let line =
        ["@/a", "@/there", "@/none", "@/busy", "--no-clobber", "--json", "--retries=1", "--retry-wait=0"];
    let done = world.run(&line).await;
    assert_eq!(code(&done), 1, "{done:?}");
    world.far(&[("x", "x")]);
    let mirror = world.mirror(&["--json"]).await;
    let (promised, mut seen) = (promised(), BTreeSet::new());
    for event in [&done, &mirror].into_iter().flat_map(events) {
        let event = event.as_object().unwrap();
        let name = event["event"].as_str().unwrap();
        let fields: BTreeSet<String> = event.keys().filter(|key| *key != "event").cloned().collect();
        assert_eq!(fields, promised[name], "{name}");
        seen.insert(name.to_owned());
    }
    assert_eq!(seen, promised.into_keys().collect());
    let end = events(&done).pop().unwrap();
    let counts =
        ["done", "failed", "skipped", "bytes", "received", "exit"].map(|field| end[field].as_u64().unwrap());
    assert_eq!(counts, [1, 2, 1, 1000, 1000, 1]);
    let attempt = events(&done).into_iter().find(|event| event["status"] == 503).unwrap();
    assert_eq!((&attempt["error"], &attempt["decision"]), (&"busy".into(), &"wait".into()));
}

#[tokio::test]
async fn an_attempt_names_the_address_whatever_was_answered() {
    let world = World::new().await;
    world.put("/ok", 10);
    world.server.put("/busy", Resource::act(Act::new().status(503)));
    let done = world.run(&["@/ok", "@/busy", "@/none", "--json", "--retries=0"]).await;
    for event in events(&done).iter().filter(|event| event["event"] == "attempt") {
        assert_eq!(event["address"].as_str(), Some(&*world.server.addr().to_string()), "{event}");
    }
}

#[tokio::test]
async fn quiet_prints_nothing_but_failures() {
    let world = World::new().await;
    world.put("/a", 1000);
    for form in ["-q", "--quiet"] {
        let done = world.fetch(&["@/a", form]).await;
        assert_eq!((done.stdout.as_str(), done.stderr.as_str()), ("", ""));
    }
    let failed = world.run(&["@/none", "@/a", "-q"]).await;
    assert_eq!((code(&failed), failed.stdout.as_str()), (3, ""));
    assert!(failed.stderr.starts_with("fetch: none: not found: "), "{failed:?}");
}

#[tokio::test]
async fn formats_are_filled_in() {
    let world = World::new().await;
    world.server.put("/a", Resource::new("hello").content_type("text/plain"));
    let format = "%{name}|%{path}|%{result}|%{error}|%{size}|%{received}|%{held}|%{attempts}|%{media-type}|%{md5}%%\\t%{url}\\n";
    let line = ["@/a?sig=1", "-o", "d/x", "--create-dirs", "--checksum=md5=5d41402abc4b2a76b9719d911017c592"];
    let done = world.fetch(&[&line[..], &["--write-out", format]].concat()).await;
    let url = world.server.url("/a?sig=***");
    let expected = format!("x|d/x|done||5|5|0|1|text/plain|5d41402abc4b2a76b9719d911017c592%\t{url}\n");
    assert_eq!(done.stdout, expected);
    let done = world.run(&["@/none", "-w", "%{result} %{error} %{time}%{speed}\\n", "--retries=0"]).await;
    assert!(done.stdout.starts_with("failed not found: "), "{done:?}");
    let done = world.fetch(&["@/a", "-w", "%{time} %{speed}"]).await;
    let numbers: Vec<f64> = done.stdout.split(' ').map(|number| number.parse().unwrap()).collect();
    assert!(numbers.len() == 2 && numbers[0] > 0.0, "{done:?}");
}

#[tokio::test]
async fn one_exit_code_for_each_class_of_failure() {
    let world = World::new().await;
    let put = |path: &str, act: Act| world.server.put(path, Resource::generated(1, 1000).always(act));
    put("/401", Act::new().status(401));
    put("/403", Act::new().status(403));
    put("/404", Act::new().status(404));
    put("/410", Act::new().status(410));
    put("/500", Act::new().status(500));
    put("/cut", Act::new().cut_at(10));
    put("/loop", Act::new().redirect("/loop"));
    put("/silent", Act::new().never_answer());
    put("/range", Act::new().status(206).body("x"));
    put("/ok", Act::new());
    let nobody = format!("http://{}/f", dead_address().await);
    let host = format!("http://{}.invalid/f", "x".repeat(64));
    let hopeless = ["--retries", "0", "--head-timeout", "0.3"];
    for (line, expected) in [
        (&["@/ok"][..], 0),
        (&["@/404"], 3),
        (&["@/410"], 3),
        (&["@/401"], 4),
        (&["@/403"], 4),
        (&["@/ok", "-o", "wrong", "--checksum", "md5=00000000000000000000000000000000"], 5),
        (&["@/ok", "-o", "wrong", "--size", "1"], 5),
        (&["@/cut"], 6),
        (&[&nobody], 6),
        (&[&host], 6),
        (&["@/range"], 6),
        (&["@/silent"], 7),
        (&["@/ok", "-d", "nowhere"], 8),
        (&["@/500"], 9),
        (&["@/loop"], 10),
        (&["@/404", "@/500"], 1),
        (&["@/404", "@/410"], 3),
        (&["@/404", "@/ok"], 3),
    ] {
        let done = world.run(&[line, &hopeless].concat()).await;
        assert_eq!(code(&done), expected, "{line:?}: {done:?}");
        assert_eq!(done.stderr.is_empty(), expected == 0, "{line:?}: {done:?}");
    }
    assert_eq!(world.names(), ["ok"]);
}

#[tokio::test]
async fn a_failure_is_accounted_for_attempt_by_attempt() {
    let world = World::new().await;
    let address = world.server.addr();
    let resource = Resource::generated(1, 2000).etag("\"a\"");
    let acts =
        resource.first(Act::new().status(503)).then(Act::new().cut_at(700)).always(Act::new().cut_at(0));
    world.server.put("/f", acts);
    let line = ["--mirrors", "@/none", "@/f?sig=s3cret", "-o", "f", "--retries=1", "--retry-wait=0.1"];
    let done = world.run(&line).await;
    assert_eq!((code(&done), done.stdout.as_str()), (6, ""));
    let lines: Vec<_> = done.stderr.lines().collect();
    let [head, none, busy, cut, attempts @ .., advice] = &lines[..] else { panic!("{}", done.stderr) };
    let (base, masked) = (world.server.url(""), world.server.url("/f?sig=***"));
    assert!(
        head.starts_with(&format!(
            "fetch: f: truncated: connection broke within the body: {masked} at byte 700 ("
        )),
        "{head}"
    );
    assert!(
        none.starts_with(&format!("  1. {base}/none at {address} answered 404 in ").replace(" at ", " "))
            || none.starts_with(&format!("  1. {base}/none")),
        "{none}"
    );
    assert!(none.contains("answered 404") && none.ends_with("; this source was asked no more."), "{none}");
    assert!(busy.contains("answered 503") && busy.ends_with("; asked again after 0.1 s."), "{busy}");
    assert!(
        cut.starts_with(&format!("  3. {masked} at {address} answered 200 and sent bytes 0 to 699 in ")),
        "{cut}"
    );
    assert!(cut.contains("; at byte 700: truncated: "), "{cut}");
    assert!(
        !attempts.is_empty() && attempts.last().unwrap().ends_with("; that was the end of it."),
        "{attempts:?}"
    );
    assert_eq!(*advice, "  The connection does not hold: the same command goes on where this one ended.");
    assert_eq!(attempts.len() + 3, world.asked());
    assert!(!done.stderr.contains("s3cret"));
}

#[tokio::test]
async fn help_and_version() {
    let folder = tempfile::tempdir().unwrap();
    for (form, words) in
        [("--help", "Placeholders"), ("-h", "Usage: fetch"), ("--version", "fetch 0."), ("-V", "fetch 0.")]
    {
        let done = run(folder.path(), [form]).await;
        assert!(
            code(&done) == 0 && done.stdout.contains(words) && done.stderr.is_empty(),
            "{form}: {done:?}"
        );
    }
    assert_eq!(code(&run(folder.path(), [""; 0]).await), 2);
}
