//! The facts a figure is worth nothing without: machine, system, versions of the contestants.
//!
//! Owns the questions to the system. Invariant: a fact that cannot be found is said to be unknown, and no path of this machine
//! is part of an answer. Must not know what the facts are for.

use std::fs;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};

use nix::sys::socket::{getsockopt, sockopt::TcpCongestion};

/// Name and value of each fact.
pub(crate) fn facts(dir: &Path, fetch: &Path) -> Vec<(String, String)> {
    let mut facts = vec![
        ("date".to_owned(), said("date", &["-u", "+%F"])),
        ("processor".to_owned(), processor()),
        ("memory".to_owned(), memory()),
        (
            "system".to_owned(),
            format!("{}, Linux {}", distribution(), file_line("/proc/sys/kernel/osrelease")),
        ),
        ("output on".to_owned(), file_system(dir)),
        ("congestion control on loopback".to_owned(), congestion_control()),
    ];
    for (program, flag) in [
        ("nginx", "-v"),
        ("curl", "--version"),
        ("aria2c", "--version"),
        ("axel", "--version"),
        ("lftp", "--version"),
        ("rclone", "version"),
        ("ssh", "-V"),
        ("openssl", "version"),
        ("sha256sum", "--version"),
    ] {
        facts.push((program.to_owned(), version(&said(program, &[flag]))));
    }
    // It says so on what it takes for its connection: standard input.
    facts.push(("vsftpd".to_owned(), version(&said("sh", &["-c", "exec vsftpd -v 0>&1"]))));
    facts.push(("curl's libraries".to_owned(), libraries(&said("curl", &["--version"]))));
    let ours =
        if fetch.is_file() { said(&fetch.to_string_lossy(), &["--version"]) } else { "missing".to_owned() };
    facts.push(("fetch".to_owned(), ours));
    facts
}

/// Of the libraries a program was built with, those that matter here.
fn libraries(said: &str) -> String {
    let wanted = ["OpenSSL/", "GnuTLS/", "LibreSSL/", "BoringSSL", "wolfSSL/", "nghttp2/", "libssh2/"];
    let named: Vec<_> =
        said.split_whitespace().filter(|word| wanted.iter().any(|name| word.starts_with(name))).collect();
    if named.is_empty() { "unknown".to_owned() } else { named.join(", ") }
}

/// Without the libraries it was built with, which some name after it.
fn version(said: &str) -> String {
    let end = [" (", " libcurl", " | Copyright", ", OpenSSL"]
        .iter()
        .filter_map(|mark| said.find(mark))
        .min()
        .unwrap_or(said.len());
    said[..end].trim_start_matches("nginx version: ").to_owned()
}

/// The first line a program says.
fn said(program: &str, arguments: &[&str]) -> String {
    let Some(path) = crate::find_program(program) else { return "missing".to_owned() };
    let output = Command::new(path).args(arguments).stdin(Stdio::null()).output();
    let text = output.map(|out| [out.stdout, out.stderr].concat()).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    text.lines()
        .find(|line| !line.trim().is_empty())
        .map_or("unknown".to_owned(), |line| line.trim().to_owned())
}

fn file_line(path: &str) -> String {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.lines().next().map_or("unknown".to_owned(), |line| line.trim().to_owned())
}

fn field(path: &str, name: &str, separator: char) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    let mut lines = text.lines().filter_map(|line| line.split_once(separator));
    lines.find(|(key, _)| key.trim() == name).map(|(_, value)| value.trim().trim_matches('"').to_owned())
}

fn processor() -> String {
    let model = field("/proc/cpuinfo", "model name", ':').unwrap_or_else(|| "unknown".to_owned());
    format!("{model}, {} cores", std::thread::available_parallelism().map_or(0, usize::from))
}

fn memory() -> String {
    let kibibytes =
        field("/proc/meminfo", "MemTotal", ':').and_then(|v| v.trim_end_matches(" kB").parse::<u64>().ok());
    kibibytes.map_or("unknown".to_owned(), |n| format!("{:.1} GiB", n as f64 / f64::from(1 << 20)))
}

fn distribution() -> String {
    field("/etc/os-release", "PRETTY_NAME", '=').unwrap_or_else(|| "unknown system".to_owned())
}

/// The type of the file system that holds `dir`.
pub(crate) fn file_system(dir: &Path) -> String {
    let mounts = fs::read_to_string("/proc/mounts").unwrap_or_default();
    let fields = mounts.lines().filter_map(|line| {
        let mut fields = line.split(' ').skip(1);
        Some((fields.next()?, fields.next()?))
    });
    let holding = fields.filter(|(point, _)| dir.starts_with(point)).max_by_key(|(point, _)| point.len());
    holding.map_or("unknown".to_owned(), |(_, kind)| kind.to_owned())
}

pub(crate) fn is_tmpfs(dir: &Path) -> bool {
    file_system(dir) == "tmpfs"
}

/// Asked of a connection, not of the configuration: a route may say otherwise.
fn congestion_control() -> String {
    let asked = || -> Option<String> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).ok()?;
        let _client = TcpStream::connect(listener.local_addr().ok()?).ok()?;
        let (accepted, _) = listener.accept().ok()?;
        Some(getsockopt(&accepted, TcpCongestion).ok()?.to_string_lossy().trim_end_matches('\0').to_owned())
    };
    match asked() {
        Some(name) if name == "bbr" => {
            "bbr: paces the sender and about halves the throughput of loopback".to_owned()
        }
        Some(name) => name,
        None => "unknown".to_owned(),
    }
}
