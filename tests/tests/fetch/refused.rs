//! What is refused before anything is done: each malformed value of each option.
//!
//! Invariant: exit code 2, a message that names the option and the accepted form, no request, no file. Must not know who checks.

use std::fs;

use super::World;
use super::program::code;

const NUMBER: &str = "expected a whole number from";
const TIME: &str = "expected seconds, such as 30 or 0.5";
const ONE: &str = "expected one URL, or --mirrors";

#[tokio::test]
async fn every_malformed_value_is_told_by_option_and_accepted_form() {
    let world = World::new().await;
    world.put("/f", 100);
    fs::write(
        world.folder().join("not.pem"),
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    )
    .unwrap();
    let long = format!("@/{}", "x".repeat(70_000));
    for (line, option, form) in [
        (&["nonsense"][..], "URL", "expected an absolute URL such as https://host/path"),
        (&["http://"], "URL", "expected an absolute URL"),
        (&["http://u:s3cret@[/"], "URL", "expected an absolute URL"),
        (&["gopher://h/f"], "URL", "expected http, https, ftp, ftps, sftp or file"),
        (&["file:///etc/hostname"], "URL", "--file-root DIR"),
        (&[&long], "URL", "at most 65536"),
        (&["@/x", "@/y/x"], "URL", "--mirrors"),
        (&["--input", "nowhere.txt"], "--input", "nowhere.txt"),
        (&["--input", "."], "--input", "."),
        (&["-i", "-", "--base", "s3cret"], "--base", "expected an absolute URL"),
        (&["-i", "-", "--base", "mailto:a@b"], "--base", "https://host/folder/"),
        (&["--base", "http://h/"], "--input", "FILE"),
        (&["--checksum", "abc"], "--checksum", "ALGORITHM=HEX"),
        (&["--checksum", "crc16=00"], "--checksum", "sha-256"),
        (&["--checksum", "sha-256=12"], "--checksum", "64 hexadecimal digits"),
        (&["--checksum", "md5=zz41402abc4b2a76b9719d911017c592"], "--checksum", "32 hexadecimal digits"),
        (&["@/g", "--checksum", "md5=5d41402abc4b2a76b9719d911017c592"], "--checksum", ONE),
        (&["--size", "-1"], "--size", NUMBER),
        (&["--size", "1K"], "--size", NUMBER),
        (&["@/g", "--size", "1"], "--size", ONE),
        (&["--query", "s3cret"], "--query", "expected NAME=VALUE"),
        (&["--max-size", "1K"], "--max-size", NUMBER),
        (&["--post-file", "nowhere.txt"], "--post-file", "nowhere.txt"),
        (&["--post-data", "a", "--post-file", "b"], "--post-data", "--post-file"),
        (&["--cookies", "nowhere.txt"], "--cookies", "nowhere.txt"),
        (&["@/g", "-o", "x"], "--output", ONE),
        (&["-o", "x", "-i", "-"], "--output", "--input"),
        (&["--fsync", "always"], "--fsync", "none, file, directory"),
        (&["--no-continue", "-c"], "--no-continue", "--continue"),
        (&["--jobs", "0"], "--jobs", NUMBER),
        (&["--jobs", "many"], "--jobs", NUMBER),
        (&["--per-host", "0"], "--per-host", NUMBER),
        (&["--segments", "0"], "--segments", "from 1 to 65535"),
        (&["--segments", "65536"], "--segments", "from 1 to 65535"),
        (&["--limit-rate", "0"], "--limit-rate", "at least 1, such as 4096, 500K, 1.5M or 1G, or `none`"),
        (&["--limit-rate", "5X"], "--limit-rate", "500K"),
        (&["--limit-rate=-5K"], "--limit-rate", "500K"),
        (&["--retries", "-1"], "--retries", NUMBER),
        (&["--retries", "none"], "--retries", NUMBER),
        (&["--retry-wait", "none"], "--retry-wait", TIME),
        (&["--retry-wait", "1s"], "--retry-wait", TIME),
        (&["--retry-wait", "wait_random(5) + 3"], "--retry-wait", "expected a wait at byte 17"),
        (&["--retry-stop", "wait_none"], "--retry-stop", "expected a stop condition at byte 0"),
        (&["--retry-stop", "stop_never", "--retries", "3"], "--retry-stop", "--retries"),
        (&["--retry-budget", "-1"], "--retry-budget", NUMBER),
        (&["--connect-timeout", "1m"], "--connect-timeout", "or `none`"),
        (&["--timeout", "-5"], "--timeout", "or `none`"),
        (&["--timeout", "inf"], "--timeout", TIME),
        (&["--head-timeout", ""], "--head-timeout", TIME),
        (&["--deadline", "1e3"], "--deadline", TIME),
        (&["--lowest-speed", "fast", "--lowest-speed-time", "1"], "--lowest-speed", NUMBER),
        (&["--lowest-speed", "5", "--lowest-speed-time", "x"], "--lowest-speed-time", TIME),
        (&["--lowest-speed", "5"], "--lowest-speed-time", "SECONDS"),
        (&["--lowest-speed-time", "5"], "--lowest-speed", "BYTES"),
        (&["--header", "s3cret"], "--header", "expected `Name: value`"),
        (&["--header", "Na me: s3cret"], "--header", "letters, digits"),
        (&["--header", "X: s3\ncret"], "--header", "control characters"),
        (&["--header", "Range: bytes=0-1"], "--header", "range"),
        (&["--user-agent", "a\nb"], "--user-agent", "control characters"),
        (&["--proxy", "ftp://u:s3cret@h"], "--proxy", "http, https, socks5 or socks5h"),
        (&["--proxy", "http://h", "--proxy-from-environment"], "--proxy", "--proxy-from-environment"),
        (&["--proxy", "http://h", "--no-proxy", "a/b"], "--no-proxy", "entry 1"),
        (&["--local-address", "localhost"], "--local-address", "192.0.2.7"),
        (&["--resolve", "h"], "--resolve", "HOST:ADDRESS"),
        (&["--max-redirects", "-1"], "--max-redirects", NUMBER),
        (&["--public-only", "--allow-network", "10.0.0.1/8"], "--allow-network", "allowed network"),
        (&["--allow-network", "10.0.0.0/8"], "--public-only", ""),
        (&["--user", "s3cret\n:s3cret"], "--user", "control characters"),
        (&["--user", "a:b", "--bearer-file", "x"], "--user", "--bearer-file"),
        (&["--bearer-file", "nowhere"], "--bearer-file", "nowhere"),
        (&["--bearer-file", "not.pem"], "--bearer-file", "visible ASCII"),
        (&["--netrc-file", "nowhere"], "--netrc-file", "No such file"),
        (&["--only-ca"], "--ca-certificate", "FILE"),
        (&["--client-certificate", "nowhere.pem"], "--client-certificate", "nowhere.pem"),
        (&["--client-certificate", "not.pem"], "--client-certificate", "not.pem"),
        (&["--client-key", "x"], "--client-certificate", "FILE"),
        (&["--pin", "sha256//AAAA"], "--pin", "44 characters of base64"),
        (&["--tls-min", "1.1"], "--tls-min", "1.2, 1.3"),
        (&["--ca-certificate", "nowhere.pem"], "--ca-certificate", "nowhere.pem"),
        (&["--ca-certificate", "not.pem"], "--ca-certificate", "not.pem"),
        (&["--file-root", "nowhere"], "--file-root", "nowhere"),
        (&["--write-out", "%{nonsense}"], "--write-out", "%{nonsense} is not known; expected"),
        (&["--write-out", "100%"], "--write-out", "%%"),
        (&["--json", "-w", "x"], "--json", "--write-out"),
        (&["--json", "-o", "-"], "--json", "--output -"),
        (&["--nonsense"], "--nonsense", "--help"),
        (&["--timeout", "http://u:s3cret@h/"], "--timeout", TIME),
        (&["--jobs", "Authorization: s3cret"], "--jobs", NUMBER),
    ] {
        // What is wrong is the only thing that is: each line has a URL that is good.
        let done = world.run(&[&["@/f"], line].concat()).await;
        assert_eq!(code(&done), 2, "{line:?}: {done:?}");
        assert_eq!(done.stdout, "", "{line:?}");
        assert!(done.stderr.contains(option) && done.stderr.contains(form), "{line:?}: {}", done.stderr);
        assert!(
            done.stderr.starts_with("error: ") && done.stderr.contains("--help"),
            "{line:?}: {}",
            done.stderr
        );
        assert!(!done.stderr.contains("s3cret"), "{line:?}: {}", done.stderr);
    }
    assert_eq!((world.asked(), world.server.connections().total), (0, 0));
    assert_eq!(world.names(), ["not.pem"]);
}

#[tokio::test]
async fn a_log_filter_that_is_malformed_is_refused_too() {
    let world = World::new().await;
    let program = super::program::program(world.folder()).args(world.line(&["@/f"]));
    let done = program.env("FETCH_LOG", "a=b=c").run(super::program::LONG).await.unwrap();
    assert_eq!(code(&done), 2, "{done:?}");
    assert!(done.stderr.contains("FETCH_LOG") && done.stderr.contains("such as debug"), "{done:?}");
    assert_eq!(world.asked(), 0);
}
