//! Ports for servers to listen on.
//!
//! Owns the search. Invariant: they were free a moment ago, and differ. Must not know what they are for.

use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, TcpListener};
use std::ops::Range;

/// Where ports in a row are looked for: below those that the kernel gives to clients.
const ROWS: Range<u16> = 20_000..32_000;

/// Of the kernel's choice.
pub(super) fn free<const N: usize>() -> Result<[u16; N], String> {
    // All bound at once so that they differ.
    let bound: io::Result<Vec<_>> = (0..N).map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0))).collect();
    let ports: io::Result<Vec<_>> =
        bound.and_then(|all| all.iter().map(|listener| Ok(listener.local_addr()?.port())).collect());
    ports.map_err(|error| why_not(&error))?.try_into().map_err(|_| "ports are missing".to_owned())
}

/// The first of `count` ports in a row, free on all of `addresses`.
pub(super) fn free_in_a_row(count: u16, addresses: &[Ipv4Addr]) -> Result<u16, String> {
    let free = |port| addresses.iter().all(|address| TcpListener::bind((*address, port)).is_ok());
    let mut rows = ROWS.step_by(usize::from(count));
    rows.find(|first| (*first..first + count).all(free))
        .ok_or_else(|| format!("no {count} free ports in a row"))
}

fn why_not(error: &io::Error) -> String {
    match error.kind() {
        ErrorKind::AddrNotAvailable => "the loopback interface is down".to_owned(),
        _ => format!("no free port: {error}"),
    }
}
